//! What is looked at again and again while a worker lives: memory, a hanging executor, values nobody has, the stream.

use crate::clock;
use crate::life::{End, Life};
use crate::machine::Input;
use crate::measure;
use protocol::messages::FromWorker;
use std::time::Duration;
use tracing::error;
use worker_core::Event;

/// `worker.memory.monitor-interval`, and more where measuring is slow.
const MEMORY_PAUSE: Duration = Duration::from_millis(200);
/// Of the time between two measures, at most one part in so many goes into measuring.
const MEASURE_SHARE: f64 = 50.0;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const FIND_MISSING: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(10);
/// `scheduler.worker-ttl`: an executor whose control thread is silent for longer hangs.
const HANGS_SECONDS: f64 = 300.0;
const LAST_WORDS: Duration = Duration::from_secs(2);

pub async fn memory(life: &Life) {
    let (mut before, mut cpu_before) = (clock::now(), measure::cpu_seconds(&life.processes()));
    loop {
        let start = clock::now();
        let process_bytes = measure::memory_bytes(&life.processes());
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
        let pause = MEMORY_PAUSE.max(Duration::from_secs_f64(taken * MEASURE_SHARE));
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

/// Kills an executor that hangs; it is then lost like any that died.
pub async fn hanging(life: &Life) {
    let mut number = 0;
    loop {
        tokio::time::sleep(PING).await;
        number += 1;
        life.handle.send(Input::Call(Box::new(move |machine| {
            machine.line.say(|line| line.ping(number));
        })));
        let silent = clock::now().seconds_since(life.last_pong.get());
        if silent > HANGS_SECONDS {
            error!(elapsed_ms = silent * 1000.0, "the Python process hangs");
            let cause = format!("did not answer for {silent:.0} s and was killed");
            *life.memory_verdict.borrow_mut() = Some(cause.clone());
            life.kill_executor(rustix::process::Signal::ABORT);
            tokio::time::sleep(LAST_WORDS).await;
            life.kill_executor(rustix::process::Signal::KILL);
            return life.end(End::lost(cause));
        }
    }
}
