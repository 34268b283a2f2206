//! The end of a life: values handed over, goodbyes said, a loss told.
//!
//! Invariant: a worker that is to hand over is over `--drain-timeout` and [`DRAIN_MARGIN_SECONDS`] after it was told to, whatever
//! its plugins, its scheduler or its peers do meanwhile: whoever told it ends it by force then.

use crate::clock;
use crate::executor::process;
use crate::life::{End, Life, Loss};
use crate::machine::{Input, Machine};
use contract::flags::DRAIN_MARGIN_SECONDS;
use protocol::messages::WorkerStatus;
use protocol::{Time, Value, encode_value, map};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{error, info, warn};
use worker_core::Event;

/// For the executor's plugins to be taken down, and for what tasks still say.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const TELL_LIMIT: Duration = Duration::from_secs(5);
const GOODBYE: Duration = Duration::from_secs(2);
/// For files to be removed, plugins of the nanny to be taken down and the process to end.
const LAST_STEPS: Duration = Duration::from_millis(600);
/// Of what is left, this part is for the scheduler to read the goodbye.
const GOODBYE_PART: u32 = 4;

/// A life that has a reason to end.
pub struct Ending {
    life: Rc<Life>,
    began: Time,
    /// Until somebody ends it by force.
    allowed: Option<Duration>,
}

/// How handing over ended.
enum Drained {
    /// Or was given up.
    Over,
    /// The scheduler has let go of the worker already.
    SchedulerGone,
    ExecutorLost(Loss),
}

impl Ending {
    pub fn new(life: &Rc<Life>, end: &End) -> Self {
        let margin = Duration::from_secs(DRAIN_MARGIN_SECONDS) - LAST_STEPS;
        let is_bounded = matches!(end, End::Retire { .. });
        Self {
            life: Rc::clone(life),
            began: clock::now(),
            allowed: is_bounded.then(|| life.config.drain_timeout + margin),
        }
    }

    fn left(&self) -> Duration {
        let passed = clock::now().seconds_since(self.began).max(0.0);
        self.allowed.map_or(Duration::MAX, |allowed| {
            allowed.saturating_sub(Duration::from_secs_f64(passed))
        })
    }

    /// Hands over what is to be, and says goodbye to whoever is still there. Why the life ended after all.
    pub async fn finish(
        &self,
        end: End,
        child: &mut Child,
        ended: &mut UnboundedReceiver<End>,
        orders: &mut UnboundedReceiver<End>,
    ) -> End {
        let mut is_scheduler_there = end != End::SchedulerGone;
        let end = match end {
            End::Retire { reason, again } => match self.drain(child, ended, orders).await {
                Drained::ExecutorLost(loss) => End::ExecutorLost(loss),
                drained => {
                    is_scheduler_there = !matches!(drained, Drained::SchedulerGone);
                    End::Retire { reason, again }
                }
            },
            end => end,
        };
        if let End::ExecutorLost(loss) = end {
            let tasks = self.life.handle.call(running).await.unwrap_or_default();
            return End::ExecutorLost(Loss { tasks, ..loss });
        }
        self.say_goodbye(is_scheduler_there, child, ended).await;
        end
    }

    /// Has the scheduler copy elsewhere what only this worker holds, for as long as tasks may drain.
    async fn drain(
        &self,
        child: &mut Child,
        ended: &mut UnboundedReceiver<End>,
        orders: &mut UnboundedReceiver<End>,
    ) -> Drained {
        let life = &self.life;
        let request = map! {
            "op" => "retire_workers",
            "reply" => true,
            "workers" => Value::Array(vec![life.address.as_str().into()]),
            "close_workers" => false,
            "remove" => true,
            "stimulus_id" => format!("worker-close-gracefully-{}", clock::now().seconds()),
        };
        let request = encode_value(&request);
        let asked = life.pool.call(&life.scheduler, &request);
        tokio::select! {
            answer = tokio::time::timeout(life.config.drain_timeout, asked) => {
                match answer {
                    Ok(Ok(_)) => info!("everything was handed over"),
                    Ok(Err(failure)) => warn!(error = %transport::with_sources(&failure), "retiring failed"),
                    Err(_) => warn!("not everything was handed over in time (--drain-timeout)"),
                }
                Drained::Over
            }
            Some(end) = ended.recv() => Drained::by(end),
            Some(end) = orders.recv() => Drained::by(end),
            status = child.wait() => Drained::by(executor_ended(life, status)),
        }
    }

    async fn say_goodbye(
        &self,
        is_scheduler_there: bool,
        child: &mut Child,
        ended: &mut UnboundedReceiver<End>,
    ) {
        let handle = &self.life.handle;
        let (close_limit, goodbye) = limits(self.left());
        handle.tell(Event::SetStatus(WorkerStatus::Closing));
        handle.send(Input::Call(Box::new(|machine| {
            machine.line.say(|line| line.close("worker closes"));
        })));
        if tokio::time::timeout(close_limit, child.wait())
            .await
            .is_err()
        {
            info!("the Python process did not end in time and is killed");
            // It may end at this moment, or hang in the kernel.
            let _gone = tokio::time::timeout(goodbye, child.kill()).await;
        }
        handle.send(Input::Call(Box::new(Machine::close_stream)));
        // The scheduler closes its end once it has read that.
        let gone = async {
            while ended
                .recv()
                .await
                .is_some_and(|end| end != End::SchedulerGone)
            {}
        };
        if is_scheduler_there {
            let _late = tokio::time::timeout(goodbye, gone).await;
        }
    }

    /// The scheduler learns at once that this worker is lost, and why.
    pub async fn tell_loss(&self, loss: &Loss) {
        let life = &self.life;
        let Loss {
            cause,
            out_of_memory,
            tasks,
        } = loss;
        error!(
            worker = life.address,
            cause,
            ?tasks,
            "the Python process is lost"
        );
        let running: Value = tasks
            .iter()
            .map(|task| Value::from(task.as_str()))
            .collect();
        let event = map! {
            "op" => "log_event",
            "reply" => true,
            "topic" => Value::Array(vec![life.address.as_str().into(), "worker-lost".into()]),
            "msg" => map! {"action" => "worker-executor-lost", "worker" => life.address.as_str(), "reason" => cause.as_str(), "out-of-memory" => *out_of_memory, "tasks" => running},
        };
        let unregister = map! {
            "op" => "unregister",
            "reply" => true,
            "address" => life.address.as_str(),
            "stimulus_id" => format!("worker-executor-lost-{}", clock::now().seconds()),
        };
        let told = async {
            life.tell_scheduler(&event).await;
            life.tell_scheduler(&unregister).await;
        };
        let limit = TELL_LIMIT.min(self.left());
        if tokio::time::timeout(limit, told).await.is_err() {
            warn!("the scheduler could not be told that its worker is lost");
        }
    }
}

impl Drained {
    /// What else came while values were handed over; whoever wants the worker closed wants it at once.
    fn by(end: End) -> Self {
        match end {
            End::ExecutorLost(loss) => Self::ExecutorLost(loss),
            End::SchedulerGone => Self::SchedulerGone,
            End::Close { .. } | End::Retire { .. } | End::Restart { .. } => Self::Over,
        }
    }
}

/// How long the Python process may take to end, and then the scheduler to let go, where so much is left.
fn limits(left: Duration) -> (Duration, Duration) {
    let goodbye = GOODBYE.min(left / GOODBYE_PART);
    (CLOSE_LIMIT.min(left - goodbye), goodbye)
}

/// What the end of the Python process means.
pub fn executor_ended(life: &Life, status: std::io::Result<ExitStatus>) -> End {
    let is_killed = matches!(&status, Ok(status) if status.signal() == Some(libc::SIGKILL));
    let how = status.map_or_else(|error| error.to_string(), process::describe);
    if let Some(loss) = life.verdict.borrow_mut().take() {
        let cause = format!("{}; it {how}", loss.cause);
        return End::ExecutorLost(Loss { cause, ..loss });
    }
    if !is_killed || life.kernel.borrow().shortage().is_none() {
        return End::lost(how);
    }
    let measured = life.memory_bytes.get() >> 20;
    let cause = format!(
        "{how} by the kernel, out of memory; it had {measured} MiB with the worker when last measured"
    );
    End::ExecutorLost(Loss {
        cause,
        out_of_memory: true,
        tasks: Vec::new(),
    })
}

/// At most so many tasks are named as those that ran.
const TASKS_NAMED: usize = 8;

fn running(machine: &mut Machine) -> Vec<String> {
    let executing = machine.core.executing(clock::now());
    let names = executing.map(|(key, _)| key.to_string());
    names.take(TASKS_NAMED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_fits_into_what_is_left_after_handing_over() {
        for left_ms in [0, 1, 900, 2_000, 4_500, 7_000, 60_000] {
            let left = Duration::from_millis(left_ms);
            let (close, goodbye) = limits(left);
            assert!(close + goodbye <= left, "{left:?}");
            assert!(close >= goodbye, "{left:?}");
        }
        assert_eq!(limits(Duration::MAX), (CLOSE_LIMIT, GOODBYE));
    }
}
