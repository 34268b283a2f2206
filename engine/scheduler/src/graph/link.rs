//! One helper process for graphs and the tasks that talk to it: reads its answers, bounds its time, buries it.

use super::bounds::{Crossed, Watch};
use super::channel::{Kind, Message, MessageReader};
use super::error::GraphError;
use super::job::{Answer, Job};
use super::launch::{Environment, Launched, launch, write_out};
use super::pool::SlotState;
use super::process::{Mode, exit_text};
use super::reply::{self, GraphBuilder, ReplyError};
use super::{Link, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{Notify, mpsc};

/// How long after a failed start the next one may be tried.
const RETRY_START: Duration = Duration::from_secs(1);

/// Why a helper ended.
enum End {
    /// It closed the channel: it exited or was killed.
    Closed,
    Crossed(Crossed),
    Malformed(String),
    /// We are closing.
    Wanted,
}

/// Starts a helper for `slot`, whose state is `Starting`.
pub fn start(shared: Arc<Shared>, slot: usize) {
    tokio::spawn(async move {
        let state = match run(&shared, slot).await {
            Ok(()) => SlotState::Absent,
            Err(text) => {
                start_failed(&shared, slot, &text);
                SlotState::Failed
            }
        };
        if state == SlotState::Failed {
            tokio::time::sleep(RETRY_START).await;
            shared.lock().pool.slots[slot].state = SlotState::Absent;
        } else if !*shared.closed.borrow() {
            shared.keep_one_warm();
        }
        shared.advance();
    });
}

/// The whole life of one helper; an error means that it never worked.
async fn run(shared: &Arc<Shared>, slot: usize) -> Result<(), String> {
    let Launched {
        mut child,
        mut reader,
        write,
        lifeline,
        environment,
    } = launch(
        &shared.options,
        Mode::Graphs,
        shared.closed.subscribe(),
        |process| shared.lock().process_ids[slot] = process,
    )
    .await?;
    tracing::info!(
        slot,
        pid = child.id(),
        distributed = environment.distributed,
        "graph helper is ready"
    );
    let head_changed = ready(shared, slot, environment, write);
    let mut session = Session {
        shared,
        slot,
        head_changed,
        builder: None,
    };
    let end = session.serve(&mut reader, child.id()).await;
    shared.lock().links[slot] = None;
    drop(lifeline);
    bury(shared, slot, end, &mut child).await;
    Ok(())
}

/// The helper takes requests from now on; first the files that every helper has.
fn ready(
    shared: &Arc<Shared>,
    slot: usize,
    environment: Environment,
    write: OwnedWriteHalf,
) -> Arc<Notify> {
    let (outgoing, pieces) = mpsc::unbounded_channel();
    tokio::spawn(write_out(write, pieces));
    // Preloaded modules may teach a helper other ways to pickle.
    let makes_known_tasks = environment.makes_known_tasks && shared.options.preload.is_empty();
    shared.direct.enable(makes_known_tasks);
    let head_changed = Arc::new(Notify::new());
    {
        let mut state = shared.lock();
        state.links[slot] = Some(Link {
            outgoing,
            head_changed: head_changed.clone(),
        });
        state.pool.slots[slot].state = SlotState::Ready;
        for upload in state.uploads.clone() {
            state.pool.slots[slot]
                .running
                .push_back(upload.job(Answer::Nobody));
            state.send_last(slot);
        }
    }
    shared
        .environment
        .send_replace(Some(Ok(Arc::new(environment))));
    shared.advance();
    head_changed
}

/// Reads a ready helper's answers.
struct Session<'a> {
    shared: &'a Arc<Shared>,
    slot: usize,
    head_changed: Arc<Notify>,
    builder: Option<GraphBuilder>,
}

impl Session<'_> {
    async fn serve(
        &mut self,
        reader: &mut MessageReader<OwnedReadHalf>,
        process: Option<u32>,
    ) -> End {
        let mut closed = self.shared.closed.subscribe();
        let mut watch = Watch::new(&self.shared.options, process);
        watch.restart(!self.shared.lock().pool.slots[self.slot].running.is_empty());
        loop {
            tokio::select! {
                message = reader.next() => match message {
                    Ok(None) | Err(_) => return End::Closed,
                    Ok(Some(message)) => match self.handle(message) {
                        Ok(None) => {}
                        Ok(Some(more)) => watch.restart(more),
                        Err(error) => return End::Malformed(error.to_string()),
                    },
                },
                () = self.head_changed.notified() => watch.restart(true),
                crossed = watch.crossed() => return End::Crossed(crossed),
                _ = closed.wait_for(|closed| *closed) => return End::Wanted,
            }
        }
    }

    /// Handles one message; `Some(more)` when it ended a request, and whether another one follows.
    fn handle(&mut self, message: Message) -> Result<Option<bool>, ReplyError> {
        match message.kind {
            Kind::Taken => self.shared.lock().pool.slots[self.slot].is_first_taken = true,
            Kind::Begin => self
                .builder
                .insert(GraphBuilder::default())
                .begin(message)?,
            Kind::Tasks => self
                .builder
                .as_mut()
                .ok_or(ReplyError::Order)?
                .tasks(message)?,
            Kind::End => {
                let graph = self.builder.take().ok_or(ReplyError::Order)?.finish()?;
                return self.answer(|answer| match answer {
                    Answer::Graph(sender) => drop(sender.send(Ok(graph))),
                    Answer::Frames(_) | Answer::Nobody => {}
                });
            }
            Kind::Value => {
                let frames = message.blobs;
                return self.answer(|answer| match answer {
                    Answer::Frames(sender) => drop(sender.send(Ok(frames))),
                    Answer::Graph(_) | Answer::Nobody => {}
                });
            }
            Kind::Error => {
                self.builder = None;
                let error = reply::error(&message)?;
                let (job, more) = self.finish_head()?;
                job.fail(error);
                return Ok(Some(more));
            }
            _ => return Err(ReplyError::Order),
        }
        Ok(None)
    }

    fn answer(&self, send: impl FnOnce(Answer)) -> Result<Option<bool>, ReplyError> {
        let (job, more) = self.finish_head()?;
        send(job.answer);
        Ok(Some(more))
    }

    /// Takes the request that has been answered, and gives the helper new ones.
    fn finish_head(&self) -> Result<(Job, bool), ReplyError> {
        let job = self
            .shared
            .lock()
            .pool
            .answered(self.slot)
            .ok_or(ReplyError::Order)?;
        self.shared.advance();
        let more = !self.shared.lock().pool.slots[self.slot].running.is_empty();
        Ok((job, more))
    }
}

/// A helper is gone: its current request fails with the reason, the others are served by another helper.
async fn bury(shared: &Arc<Shared>, slot: usize, end: End, child: &mut Child) {
    let reason = match end {
        End::Closed => format!("ended{}", exit_text(child).await),
        End::Crossed(Crossed::Time) => {
            let seconds = shared.options.time_limit.as_secs_f64();
            format!("was stopped because it took longer than {seconds} s (--graph-time-limit)")
        }
        End::Crossed(Crossed::Memory) => {
            let gibibytes =
                shared.options.memory_limit_bytes.unwrap_or_default() as f64 / (1_u64 << 30) as f64;
            format!(
                "was stopped because it reached its memory limit of {gibibytes:.1} GiB (--graph-memory-limit; scatter \
                 large objects, or read them inside the tasks)"
            )
        }
        End::Malformed(text) => format!("was stopped because its answer made no sense: {text}"),
        End::Wanted => "was stopped because the scheduler is closing".to_owned(),
    };
    let _already_dead = child.kill().await;
    let guilty = {
        let mut state = shared.lock();
        state.process_ids[slot] = None;
        state.pool.lost(slot, SlotState::Absent)
    };
    if *shared.closed.borrow() {
        return;
    }
    tracing::warn!(
        slot,
        reason,
        held_a_graph = guilty.is_some(),
        "graph helper is gone"
    );
    if let Some(job) = guilty {
        job.fail(GraphError::runtime(&format!(
            "The graph helper, the scheduler's Python process that opens graphs, {reason} while it was opening this \
             graph. Only this graph is lost. Look for code that crashes or never ends when the graph is unpickled or \
             built, and for large objects embedded in it."
        )));
    }
}

/// No helper can be had now: unless another one works, nobody waits in vain.
fn start_failed(shared: &Arc<Shared>, slot: usize, text: &str) {
    if !*shared.closed.borrow() {
        tracing::error!(slot, error = text, "graph helper cannot start");
    }
    let error = GraphError::runtime(text);
    let failed = {
        let mut state = shared.lock();
        state.process_ids[slot] = None;
        state.pool.lost(slot, SlotState::Failed);
        match state.pool.count(SlotState::Ready) + state.pool.count(SlotState::Starting) {
            0 => std::mem::take(&mut state.pool.waiting),
            _ => Default::default(),
        }
    };
    if shared
        .environment
        .borrow()
        .as_ref()
        .is_none_or(Result::is_err)
    {
        shared.environment.send_replace(Some(Err(error.clone())));
    }
    for job in failed {
        job.fail(error.clone());
    }
}

/// Which processes are alive.
#[cfg(test)]
pub fn process_ids(shared: &Shared) -> Vec<u32> {
    shared
        .lock()
        .process_ids
        .iter()
        .flatten()
        .copied()
        .collect()
}
