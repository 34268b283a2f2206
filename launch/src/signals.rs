//! Signals to the launcher: what the command gets of them, and the one that says that a child has ended.

use rustix::process::Signal;
use std::io::{self, IsTerminal};
use std::task::{Context, Poll};
use tokio::signal::unix::{self, SignalKind, signal};

/// What people and programs send to a container. Stop and other signals of job control are not: the launcher stops with
/// its command, as one process.
const PASSED_ON: [Signal; 10] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::CONT,
    Signal::ALARM,
    Signal::URG,
];

/// These end a program that does not care for them.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// A terminal sends these to every process in its foreground, so the command has them already.
const OF_TERMINAL: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::WINCH];

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// At least one child has ended.
    ChildEnded,
    ToCommand(Signal),
}

#[derive(Debug)]
pub struct Signals {
    child: unix::Signal,
    others: Vec<(Signal, unix::Signal)>,
    terminal: bool,
}

impl Signals {
    /// From here on no signal of these ends the launcher. A command does not inherit that.
    pub fn take() -> io::Result<Self> {
        let others = PASSED_ON
            .into_iter()
            .map(|each| Ok((each, signal(SignalKind::from_raw(each.as_raw()))?)))
            .collect::<io::Result<_>>()?;
        Ok(Signals {
            child: signal(SignalKind::child())?,
            others,
            terminal: io::stdin().is_terminal(),
        })
    }

    pub async fn next(&mut self) -> Event {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        for (signal, stream) in &mut self.others {
            if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                return Poll::Ready(Event::ToCommand(*signal));
            }
        }
        match self.child.poll_recv(context) {
            Poll::Ready(Some(())) => Poll::Ready(Event::ChildEnded),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the command has had this signal from elsewhere.
    pub fn came_to_all(&self, signal: Signal) -> bool {
        self.terminal && OF_TERMINAL.contains(&signal)
    }
}

pub fn ends(signal: Signal) -> bool {
    ENDING.contains(&signal)
}

/// `SIGKILL` for 9.
pub fn name(signal: i32) -> String {
    const NAMES: [(Signal, &str); 13] = [
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::HUP, "SIGHUP"),
        (Signal::ILL, "SIGILL"),
        (Signal::INT, "SIGINT"),
        (Signal::KILL, "SIGKILL"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::SYS, "SIGSYS"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
    ];
    let known = NAMES.iter().find(|(each, _)| each.as_raw() == signal);
    known.map_or_else(
        || format!("signal {signal}"),
        |(_, name)| (*name).to_owned(),
    )
}
