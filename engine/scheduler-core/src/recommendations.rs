//! What should happen to which task next: a map in order of insertion, worked off from its end.
//!
//! Giving a task another target keeps its place. Stock Dask behaves so (a dict and `popitem`), and the order in which
//! root tasks are scheduled depends on it.

use crate::task::{NO_RECOMMENDATION, Phase, TaskId, Tasks};

#[derive(Default)]
pub(crate) struct Recommendations {
    stack: Vec<(TaskId, Phase)>,
    /// What was recommended since the outermost transition began, for the story.
    pub journal: Vec<(TaskId, Phase)>,
}

impl Recommendations {
    pub fn put(&mut self, tasks: &mut Tasks, task: TaskId, target: Phase) {
        let place = &mut tasks[task].recommendation;
        if *place == NO_RECOMMENDATION {
            *place = self.stack.len() as u32;
            self.stack.push((task, target));
        } else {
            self.stack[*place as usize].1 = target;
        }
        self.journal.push((task, target));
    }

    pub fn of(&self, tasks: &Tasks, task: TaskId) -> Option<Phase> {
        let place = tasks[task].recommendation;
        self.stack.get(place as usize).map(|(_, target)| *target)
    }

    pub fn pop(&mut self, tasks: &mut Tasks) -> Option<(TaskId, Phase)> {
        self.journal.clear();
        let (task, target) = self.stack.pop()?;
        tasks[task].recommendation = NO_RECOMMENDATION;
        Some((task, target))
    }

    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }
}
