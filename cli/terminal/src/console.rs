//! What people see: sentences and progress on standard error, the job's own output unchanged.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often progress is told where it cannot be drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Which stream of the job a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Output,
    Error,
}

/// Where sentences, progress and the job's output go.
pub struct Console {
    sink: Sink,
}

enum Sink {
    /// Nothing is said; the job's output still passes.
    Silent,
    /// A line that is drawn again and again.
    Bar(ProgressBar),
    /// A line now and then, when it differs from the last one.
    Lines(Mutex<Option<(Instant, String)>>),
    /// Sentences, but no progress.
    Sentences,
}

impl Console {
    pub fn new(show_progress: bool) -> Self {
        let sink = match (show_progress, std::io::stderr().is_terminal()) {
            (false, _) => Sink::Sentences,
            (true, false) => Sink::Lines(Mutex::new(None)),
            (true, true) => {
                let bar =
                    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {msg}")
                        .expect("the template is constant"),
                );
                bar.enable_steady_tick(Duration::from_millis(200));
                Sink::Bar(bar)
            }
        };
        Console { sink }
    }

    /// One that says nothing, for tests.
    pub fn silent() -> Self {
        Console { sink: Sink::Silent }
    }

    /// Says a sentence, or several lines.
    pub fn say(&self, text: &str) {
        let write = || {
            let mut stderr = std::io::stderr().lock();
            // Nobody may be listening any more; the run goes on.
            for line in text.lines() {
                let _ = writeln!(stderr, "daskjob: {line}");
            }
        };
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => bar.suspend(write),
            Sink::Lines(_) | Sink::Sentences => write(),
        }
    }

    /// Shows how far the job is, in a line.
    pub fn progress(&self, line: &str, now: Instant) {
        match &self.sink {
            Sink::Silent | Sink::Sentences => {}
            Sink::Bar(bar) => bar.set_message(line.to_owned()),
            Sink::Lines(last) => {
                let mut last = last.lock().expect("no holder panics");
                let due = last.as_ref().is_none_or(|(told, text)| {
                    now.duration_since(*told) >= LINE_EVERY && *text != line
                });
                if due {
                    *last = Some((now, line.to_owned()));
                    drop(last);
                    self.say(line);
                }
            }
        }
    }

    /// Progress is over.
    pub fn clear(&self) {
        if let Sink::Bar(bar) = &self.sink {
            bar.finish_and_clear();
        }
    }

    /// Whether output must come in whole lines, because a line is being drawn below it.
    pub fn draws(&self) -> bool {
        matches!(&self.sink, Sink::Bar(bar) if !bar.is_finished())
    }

    /// Passes output of the job on, unchanged. An error means that nobody reads it any more.
    pub async fn pass_on(&self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        if let Sink::Bar(bar) = &self.sink {
            return bar.suspend(|| match stream {
                Stream::Output => write_all(std::io::stdout().lock(), bytes),
                Stream::Error => write_all(std::io::stderr().lock(), bytes),
            });
        }
        // On a thread of its own: a reader that stops reading must not stop the run from being ended.
        let bytes = bytes.to_vec();
        let writing = tokio::task::spawn_blocking(move || match stream {
            Stream::Output => write_all(std::io::stdout().lock(), &bytes),
            Stream::Error => write_all(std::io::stderr().lock(), &bytes),
        });
        writing.await.map_err(std::io::Error::other)?
    }
}

fn write_all(mut stream: impl Write, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
