//! How far a local run is, as a line for people.

use contract::http::Counts;

/// How far the job is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    pub workers_ready: u32,
    pub workers_desired: u32,
    pub counts: Counts,
    /// Tasks finished a second, lately.
    pub rate: f64,
}

impl Progress {
    pub fn line(&self) -> String {
        let counts = &self.counts;
        let mut line = format!("workers {}/{}", self.workers_ready, self.workers_desired);
        if counts.tasks > 0 {
            let finished = counts.memory + counts.released;
            // What waits has several states, and one of them (queued) is not among the scheduler's counts.
            let waiting = counts
                .tasks
                .saturating_sub(finished + counts.processing + counts.erred);
            line.push_str(&format!(
                ", tasks {finished} finished, {} on workers, {waiting} waiting",
                counts.processing
            ));
            if counts.erred > 0 {
                line.push_str(&format!(", {} erred", counts.erred));
            }
            if self.rate >= 0.5 {
                line.push_str(&format!(", {:.0}/s", self.rate));
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_workers_tasks_and_rate() {
        let mut progress = Progress {
            workers_ready: 1,
            workers_desired: 2,
            ..Progress::default()
        };
        assert_eq!(progress.line(), "workers 1/2");
        progress.counts = Counts {
            tasks: 11,
            memory: 2,
            released: 1,
            processing: 3,
            waiting: 4,
            erred: 1,
            ..Counts::default()
        };
        progress.rate = 12.4;
        assert_eq!(
            progress.line(),
            "workers 1/2, tasks 3 finished, 3 on workers, 4 waiting, 1 erred, 12/s"
        );
    }
}
