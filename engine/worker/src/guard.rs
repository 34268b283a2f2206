//! What a launcher does for others in a container and this program for itself: it buries orphans, takes back words that
//! have been overtaken, and ends the workers when any process here was killed for want of memory.

use crate::config::Config;
use crate::life::{End, Loss};
use crate::nanny::Nanny;
use container::{Memory, Orphans, message};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(500);
/// Who was killed is mostly the executor, whose end is noticed by itself and tells more.
const EXECUTOR_IS_NOTICED: Duration = Duration::from_millis(300);
/// A kill of so many looks ago explains no end.
const LOOKS_LATELY: u32 = 10;
/// So many looks after a worker has begun anew, what its predecessor left explains no end any more.
const LOOKS_TOLD: u32 = 20;

/// What all workers of this program know of their container.
pub struct Guard {
    pub memory: RefCell<Memory>,
    /// A cause was left and may be taken back so many looks after the next life has begun.
    left: Cell<Option<u32>>,
}

impl Guard {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            memory: RefCell::new(Memory::of_container()),
            left: Cell::new(None),
        })
    }

    /// A loss was told: what was counted for it counts no more.
    pub fn told(&self) {
        let mut memory = self.memory.borrow_mut();
        memory.look();
        memory.look();
        self.left.set(Some(LOOKS_TOLD));
    }

    /// Takes back what was left, if anything: the worker ends as it was wished.
    pub fn ends_well(&self, config: &Config) {
        if self.left.take().is_some() {
            message::take_back(&config.termination_log);
        }
    }

    /// Never returns.
    pub async fn watch(&self, config: &Config, nannies: &[Rc<Nanny>]) -> std::convert::Infallible {
        let is_first_process = std::process::id() == 1;
        let mut orphans = Orphans::default();
        let mut looks = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            looks += 1;
            if config.end_when_out_of_memory {
                self.end_when_out_of_memory(nannies).await;
            }
            if looks % LOOKS_LATELY == 0 {
                self.memory.borrow_mut().look();
                if is_first_process {
                    orphans.bury();
                }
            }
            let all_live = nannies.iter().all(|nanny| nanny.stage.borrow().is_alive);
            match self.left.get() {
                Some(0) => self.ends_well(config),
                Some(left) if all_live => self.left.set(Some(left - 1)),
                Some(_) | None => {}
            }
        }
    }

    async fn end_when_out_of_memory(&self, nannies: &[Rc<Nanny>]) {
        let is_short = || self.memory.borrow().shortage().is_some();
        if !is_short() {
            return;
        }
        tokio::time::sleep(EXECUTOR_IS_NOTICED).await;
        for nanny in nannies {
            let loss = Loss {
                cause: "is ended, for another process here was killed by the kernel".to_owned(),
                out_of_memory: true,
                tasks: Vec::new(),
            };
            nanny.order(End::ExecutorLost(loss));
        }
    }
}
