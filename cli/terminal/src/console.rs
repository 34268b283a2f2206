//! What people see: sentences and progress on standard error, the job's own output unchanged.
//!
//! Invariant: nothing here waits for a reader but what says so. Standard output and standard error have a thread each to
//! write them, or one for both where they are the same, so that what is said comes in order.

use crate::lane::Lane;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

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
    output: Arc<Lane>,
    error: Arc<Lane>,
    /// What is not written by now is given up.
    left: AtomicBool,
}

enum Sink {
    /// Nothing is said; the job's output still passes.
    Silent,
    /// A line that is drawn again and again.
    Bar(Bar),
    /// A line now and then, when it differs from the last one.
    Lines(Mutex<Option<(Instant, String)>>),
    /// Sentences, but no progress.
    Sentences,
}

struct Bar {
    bar: ProgressBar,
    is_over: AtomicBool,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}").expect("the template is constant"),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar {
            bar,
            is_over: AtomicBool::new(false),
        }
    }
}

impl Console {
    pub fn new(show_progress: bool) -> Self {
        Console::of(match (show_progress, std::io::stderr().is_terminal()) {
            (false, _) => Sink::Sentences,
            (true, false) => Sink::Lines(Mutex::new(None)),
            (true, true) => Sink::Bar(Bar::new()),
        })
    }

    /// One that says nothing, for tests.
    pub fn silent() -> Self {
        Console::of(Sink::Silent)
    }

    fn of(sink: Sink) -> Self {
        let error = Arc::new(Lane::new());
        let output = if output_is_error() {
            Arc::clone(&error)
        } else {
            Arc::new(Lane::new())
        };
        Console {
            sink,
            output,
            error,
            left: AtomicBool::new(false),
        }
    }

    /// Says a sentence, or several lines.
    pub fn say(&self, text: &str) {
        if matches!(self.sink, Sink::Silent) {
            return;
        }
        let lines: String = text
            .lines()
            .map(|line| format!("daskjob: {line}\n"))
            .collect();
        let bar = self.bar();
        self.error.hand_over(move |moved| {
            // Nobody may be listening any more; the run goes on.
            let _ = above(bar, || {
                moved.write_all(std::io::stderr().lock(), lines.as_bytes())
            });
        });
    }

    /// Shows how far the job is, in a line.
    pub fn progress(&self, line: &str, now: Instant) {
        match &self.sink {
            Sink::Silent | Sink::Sentences => {}
            Sink::Bar(bar) => {
                let (bar, line) = (bar.bar.clone(), line.to_owned());
                // By the thread that draws: whoever waits for the terminal holds the bar.
                if !self.error.is_behind() {
                    self.error.hand_over(move |_| bar.set_message(line));
                }
            }
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
        if let Sink::Bar(Bar { bar, is_over }) = &self.sink {
            is_over.store(true, Ordering::Relaxed);
            let bar = bar.clone();
            self.error.hand_over(move |_| bar.finish_and_clear());
        }
    }

    /// Whether a stream must come in whole lines, because a line is being drawn below it.
    pub fn draws_below(&self, stream: Stream) -> bool {
        let is_drawn = matches!(&self.sink, Sink::Bar(bar) if !bar.is_over.load(Ordering::Relaxed));
        is_drawn && self.is_with_the_bar(stream)
    }

    fn is_with_the_bar(&self, stream: Stream) -> bool {
        stream == Stream::Error || Arc::ptr_eq(&self.output, &self.error)
    }

    /// Writes what was asked for to standard output, after what came there before.
    pub fn print(&self, text: &str) {
        drop(self.pass_on(Stream::Output, text.as_bytes().to_vec()));
    }

    /// Passes output of the job on, unchanged; also where the answer is not waited for, which comes when all of it was
    /// taken. An error means that nobody reads it any more.
    pub fn pass_on(
        &self,
        stream: Stream,
        bytes: Vec<u8>,
    ) -> impl Future<Output = std::io::Result<()>> + Send + use<> {
        let bar = self.bar().filter(|_| self.is_with_the_bar(stream));
        let (done, is_done) = oneshot::channel();
        self.lane(stream).hand_over(move |moved| {
            let written = above(bar, || match stream {
                Stream::Output => moved.write_all(std::io::stdout().lock(), &bytes),
                Stream::Error => moved.write_all(std::io::stderr().lock(), &bytes),
            });
            let _ = done.send(written);
        });
        async move { is_done.await.map_err(std::io::Error::other)? }
    }

    /// Until everything was written, however long its reader takes.
    pub async fn written(&self) {
        self.output.written().await;
        self.error.written().await;
    }

    /// Until everything was written, or its reader has read nothing for a while.
    pub async fn written_or_stuck(&self) {
        self.output.written_or_stuck().await;
        self.error.written_or_stuck().await;
    }

    /// Whether there is something that its reader has not taken yet.
    pub fn is_behind(&self) -> bool {
        self.output.is_behind() || self.error.is_behind()
    }

    /// What is not written by now is given up.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    fn lane(&self, stream: Stream) -> &Lane {
        match stream {
            Stream::Output => &self.output,
            Stream::Error => &self.error,
        }
    }

    fn bar(&self) -> Option<ProgressBar> {
        match &self.sink {
            Sink::Bar(bar) => Some(bar.bar.clone()),
            Sink::Silent | Sink::Lines(_) | Sink::Sentences => None,
        }
    }
}

/// The program may end a moment later, and its threads with it.
impl Drop for Console {
    fn drop(&mut self) {
        if !*self.left.get_mut() {
            self.output.wait_until_written_or_stuck();
            self.error.wait_until_written_or_stuck();
        }
    }
}

/// Writes while nothing is drawn below.
fn above<T>(bar: Option<ProgressBar>, write: impl FnOnce() -> T) -> T {
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Whether standard output and standard error are the same terminal, pipe or file.
fn output_is_error() -> bool {
    let output = identity(std::io::stdout());
    output.is_some() && output == identity(std::io::stderr())
}

fn identity(stream: impl AsFd) -> Option<(u64, u64)> {
    let file = File::from(stream.as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}
