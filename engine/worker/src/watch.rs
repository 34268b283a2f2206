//! What is looked at again and again while a worker lives: memory, a hanging executor, values nobody has, the stream.

use crate::clock;
use crate::life::{End, Life, Loss};
use crate::machine::Input;
use crate::measure;
use protocol::messages::FromWorker;
use std::time::Duration;
use tracing::error;
use worker_core::Event;

/// Of the time between two measures, at most one part in so many goes into measuring.
const MEASURE_SHARE: f64 = 50.0;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEPT_WITHOUT_USE: Duration = Duration::from_secs(30);
const FIND_MISSING: Duration = Duration::from_secs(1);
/// For a process that was killed to end, and to be seen to have.
const LATELY: Duration = Duration::from_secs(10);
/// Between two questions whether the executor is there; more often where it may be silent for a short time only.
const PING: Duration = Duration::from_secs(10);
const PINGS: u32 = 5;
const LAST_WORDS: Duration = Duration::from_secs(2);

pub async fn memory(life: &Life) {
    let (mut before, mut cpu_before) = (clock::now(), measure::cpu_seconds(&life.processes()));
    loop {
        let start = clock::now();
        let mut process_bytes = measure::memory_bytes(&life.processes(), life.memory.bytes());
        // Before values go to disk, what is kept for later goes.
        let config = &life.config;
        let most = config.memory_limit.zip(config.memory.target);
        if most.is_some_and(|(limit, share)| process_bytes as f64 > limit as f64 * share) {
            process_bytes = process_bytes.saturating_sub(life.memory.let_go());
        }
        let taken = clock::now().seconds_since(start);
        life.memory_bytes.set(process_bytes);
        if life.config.memory_limit.is_some() {
            life.handle.tell(Event::MemoryMeasured { process_bytes });
        }
        let elapsed = start.seconds_since(before);
        if elapsed > 0.5 {
            let cpu = measure::cpu_seconds(&life.processes());
            life.cpu_percent
                .set(100.0 * (cpu - cpu_before).max(0.0) / elapsed);
            (before, cpu_before) = (start, cpu);
        }
        let pause = Duration::from_secs_f64(taken * MEASURE_SHARE);
        let pause = pause.max(life.config.memory.monitor_interval);
        tokio::time::sleep(pause).await;
    }
}

pub async fn keep_alive(life: &Life) {
    loop {
        tokio::time::sleep(KEEP_ALIVE).await;
        life.handle.send(Input::Call(Box::new(|machine| {
            machine.tell_scheduler(vec![FromWorker::KeepAlive]);
        })));
    }
}

pub async fn find_missing(life: &Life) {
    loop {
        tokio::time::sleep(FIND_MISSING).await;
        life.handle.send(Input::Call(Box::new(|machine| {
            if machine.core.misses_anything() {
                machine.events.push(Event::FindMissing);
            }
        })));
    }
}

/// Memory for frames that is kept for the next ones goes where none come.
pub async fn kept_memory(life: &Life) {
    let mut asked = 0;
    loop {
        tokio::time::sleep(KEPT_WITHOUT_USE).await;
        asked = life.memory.let_go_if_idle(asked);
    }
}

/// Forgets what the kernel killed long ago.
pub async fn kills(life: &Life) {
    loop {
        tokio::time::sleep(LATELY).await;
        life.kernel.borrow_mut().look();
    }
}

/// Kills an executor that hangs; it is then lost like any that died.
pub async fn hanging(life: &Life) {
    let Some(timeout) = life.config.hang_timeout else {
        return;
    };
    let mut number = 0;
    life.pong();
    loop {
        tokio::time::sleep(PING.min(timeout / PINGS)).await;
        number += 1;
        life.handle.send(Input::Call(Box::new(move |machine| {
            machine.line.say(|line| line.ping(number));
        })));
        let silent = clock::now().seconds_since(life.last_pong.get());
        if silent > timeout.as_secs_f64() {
            error!(elapsed_ms = silent * 1000.0, "the Python process hangs");
            let cause = format!("did not answer for {silent:.0} s and was killed");
            *life.verdict.borrow_mut() = Some(Loss {
                cause: cause.clone(),
                ..Loss::default()
            });
            life.kill_executor(rustix::process::Signal::ABORT);
            tokio::time::sleep(LAST_WORDS).await;
            life.kill_executor(rustix::process::Signal::KILL);
            return life.end(End::lost(cause));
        }
    }
}
