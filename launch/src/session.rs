//! The loop: one command, what is waited for, and what comes from outside.
//!
//! Invariant: without a command the launcher ends only for a signal, a start that fails or a scheduler that is given up;
//! with one only after it. It kills its command only where nobody else would, or where waiting is in vain: the kubelet has
//! its own patience with those it stops.

use crate::args::LaunchArgs;
use crate::child::{Child, Exit, reap_orphans};
use crate::command::{Prepared, StartError};
use crate::ending::Ending;
use crate::lifeline::{self, Held, Taker};
use crate::scheduler::{self, NoScheduler};
use crate::signals::{self, Event, Signals};
use crate::{files, say};
use container::{Memory, Shortage};
use protocol::Address;
use rustix::process::Signal;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

/// How long a command has that the launcher itself ends.
const GRACE: Duration = Duration::from_secs(10);

/// How often the control group is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The same where a shortage is to end the command.
const CLOSE_LOOK: Duration = Duration::from_millis(500);

type Waiting<T> = Pin<Box<dyn Future<Output = T>>>;

/// What there is to be told of a scheduler: that it answers (with a lifeline, where one is asked for), or does not.
type Answer = Result<Option<Held>, NoScheduler>;

struct Session {
    command: Prepared,
    child: Option<Child>,
    memory: Memory,
    /// A shortage ends the command.
    memory_is_vital: bool,
    /// The shortage that has ended it.
    shortage: Option<Shortage>,
    signals: Signals,
    /// Whether the scheduler is still asked.
    asking: bool,
    /// The command was told to end.
    told: bool,
    /// It was told so by the launcher itself.
    ending: bool,
    /// Why the launcher ends the command, where that is what is to be told in the end.
    given_up: Option<NoScheduler>,
    /// When the command is killed, once it is told to end.
    last_resort: Waiting<()>,
    /// The scheduler without which a command that was told to end has nothing left to do.
    ends_with: Option<Address>,
    lifeline: Option<Held>,
}

/// Does what the flags say, to its end.
pub async fn run(args: &LaunchArgs) -> Ending {
    let (mut session, taker) = match prepare(args).await {
        Ok(prepared) => prepared,
        Err(error) => return Ending::NotStarted(error),
    };
    let at_once = !session.asking || args.start_beside;
    if at_once && let Err(ending) = session.start() {
        return ending;
    }
    let abandoned: Waiting<String> = match taker {
        Some(taker) => Box::pin(taker.until_lost()),
        None => Box::pin(pending()),
    };
    session.run(ask(args), abandoned).await
}

async fn prepare(args: &LaunchArgs) -> Result<(Session, Option<Taker>), StartError> {
    // First of all: as process 1 a signal that is not taken does nothing.
    let signals = Signals::take().map_err(StartError::Launcher)?;
    if let (Some(files), Some(work)) = (&args.files, &args.work_directory) {
        files::copy_and_enter(files, work)?;
    }
    let taker = match (args.lifeline_port, args.lifeline_timeout) {
        (Some(port), Some(seconds)) => {
            let lost_after = Duration::from_secs(seconds);
            let taker = Taker::bind(port, lost_after, args.dashboard_port).await;
            Some(taker.map_err(|source| StartError::Lifeline { port, source })?)
        }
        _ => None,
    };
    let session = Session {
        command: Prepared::new(args, std::env::vars_os().collect())?,
        child: None,
        memory: Memory::of_container(),
        memory_is_vital: args.end_when_out_of_memory,
        shortage: None,
        signals,
        asking: args.scheduler.is_some(),
        told: false,
        ending: false,
        given_up: None,
        last_resort: Box::pin(pending()),
        ends_with: args.scheduler.clone().filter(|_| args.end_with_scheduler),
        lifeline: None,
    };
    Ok((session, taker))
}

fn ask(args: &LaunchArgs) -> Waiting<Answer> {
    let Some(address) = args.scheduler.clone() else {
        return Box::pin(pending());
    };
    let (patience, lifeline) = (args.scheduler_timeout, args.hold_lifeline);
    Box::pin(async move {
        scheduler::answers(&address, patience).await?;
        Ok(match lifeline {
            Some(port) => Some(lifeline::hold(&address, port).await),
            None => None,
        })
    })
}

impl Session {
    async fn run(mut self, mut answer: Waiting<Answer>, mut abandoned: Waiting<String>) -> Ending {
        let mut looks = tokio::time::interval(match self.memory_is_vital {
            true => CLOSE_LOOK,
            false => LOOK,
        });
        loop {
            let ending = tokio::select! {
                event = self.signals.next() => self.hear(event),
                answer = &mut answer, if self.asking => self.answered(answer),
                reason = &mut abandoned, if !self.ending => self.abandon(&reason),
                () = &mut self.last_resort => self.kill(),
                _ = looks.tick() => self.look(),
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    fn start(&mut self) -> Result<(), Ending> {
        self.child = Some(Child::start(&self.command).map_err(Ending::NotStarted)?);
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Option<Ending> {
        match (event, &self.child) {
            (Event::ChildEnded, Some(child)) => {
                let exit = child.reap()?;
                self.child = None;
                self.ended(exit)
            }
            (Event::ChildEnded, None) => {
                reap_orphans();
                None
            }
            (Event::ToCommand(signal), Some(child)) => {
                if !self.signals.came_to_all(signal) {
                    child.signal(signal);
                }
                if signals::ends(signal) {
                    self.told = true;
                    self.watch_for_the_schedulers_end();
                }
                None
            }
            (Event::ToCommand(signal), None) => {
                signals::ends(signal).then_some(Ending::Stopped(signal))
            }
        }
    }

    /// The command has ended.
    fn ended(&mut self, exit: Exit) -> Option<Ending> {
        if let Some(missing) = self.given_up.take() {
            return Some(Ending::NoScheduler(missing));
        }
        if self.asking && !self.told && !exit.succeeded() {
            say(&format!(
                "{} ended with code {} before the scheduler answered; it is started again once it does",
                self.command.name(),
                exit.code()
            ));
            return None;
        }
        Some(Ending::Exited {
            name: self.command.name(),
            exit,
            told: self.told,
            shortage: self.shortage.or_else(|| self.memory.shortage()),
        })
    }

    fn answered(&mut self, answer: Answer) -> Option<Ending> {
        self.asking = false;
        match answer {
            Ok(lifeline) => {
                self.lifeline = lifeline;
                if self.child.is_none() {
                    return self.start().err();
                }
                None
            }
            Err(missing) if self.child.is_none() => Some(Ending::NoScheduler(missing)),
            Err(missing) => {
                self.given_up = Some(missing);
                self.end_command();
                None
            }
        }
    }

    fn abandon(&mut self, reason: &str) -> Option<Ending> {
        say(&format!("{reason}: it ends"));
        self.end_command();
        None
    }

    fn end_command(&mut self) {
        self.told = true;
        self.ending = true;
        if let Some(child) = &self.child {
            child.signal(Signal::TERM);
        }
        self.last_resort = Box::pin(tokio::time::sleep(GRACE));
    }

    fn watch_for_the_schedulers_end(&mut self) {
        // Once: a second signal must not begin the watch anew.
        if let Some(address) = self.ends_with.take() {
            self.last_resort = Box::pin(async move { scheduler::gone(&address).await });
        }
    }

    fn kill(&mut self) -> Option<Ending> {
        if let Some(child) = &self.child {
            child.signal(Signal::KILL);
        }
        self.last_resort = Box::pin(pending());
        None
    }

    fn look(&mut self) -> Option<Ending> {
        if self.memory_is_vital && self.shortage.is_none() && self.child.is_some() {
            self.shortage = self.memory.shortage();
            if self.shortage.is_some() {
                // As where the kernel kills the whole container: nothing in it has a say any more.
                self.told = true;
                self.ending = true;
                self.kill();
            }
        }
        self.memory.look();
        None
    }
}
