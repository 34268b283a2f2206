//! Tasks that could run: those that need nothing but a thread, and those that need resources.
//!
//! Tasks that need the same resources form a class. A task that waits for resources keeps them from later ones of less
//! priority, so that it is not starved, but keeps nobody from what it does not need.

use crate::priority::Place;
use protocol::Text;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which resources a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassId(pub u32);

struct Class {
    /// Amounts by place in `Queues::resources`.
    needs: Vec<(usize, f64)>,
    /// As it was ordered.
    named: Vec<(Text, f64)>,
    queue: BTreeSet<Place>,
    /// Tasks queued or running.
    users: u32,
}

pub(crate) struct Resource {
    pub name: Arc<str>,
    pub total: f64,
    pub available: f64,
}

/// Sums of amounts such as 0.1 are not exact.
const TOLERANCE: f64 = 1e-9;

pub(crate) struct Queues {
    pub ready: BTreeSet<Place>,
    classes: Vec<Class>,
    pub resources: Vec<Resource>,
    constrained: usize,
}

impl Queues {
    pub fn new(resources: &[(Arc<str>, f64)]) -> Self {
        let mut queues = Self {
            ready: BTreeSet::new(),
            classes: Vec::new(),
            resources: Vec::new(),
            constrained: 0,
        };
        for (name, total) in resources {
            queues.set_total(name, *total);
        }
        queues
    }

    /// What is in use stays in use.
    pub fn set_total(&mut self, name: &str, total: f64) {
        let at = self.resource(name);
        let resource = &mut self.resources[at];
        resource.available += total - resource.total;
        resource.total = total;
    }

    fn resource(&mut self, name: &str) -> usize {
        let known = self.resources.iter().position(|own| &*own.name == name);
        known.unwrap_or_else(|| {
            self.resources.push(Resource {
                name: Arc::from(name),
                total: 0.0,
                available: 0.0,
            });
            self.resources.len() - 1
        })
    }

    pub fn class_of(&mut self, restrictions: &[(Text, f64)]) -> ClassId {
        let known = self
            .classes
            .iter()
            .position(|own| own.named == restrictions);
        let at = known.unwrap_or_else(|| self.add_class(restrictions));
        ClassId(at as u32)
    }

    fn add_class(&mut self, restrictions: &[(Text, f64)]) -> usize {
        let mut needs = Vec::new();
        for (name, amount) in restrictions {
            // An amount below zero would make resources out of nothing.
            needs.push((self.resource(&name.to_string_lossy()), amount.max(0.0)));
        }
        let class = Class {
            needs,
            named: restrictions
                .iter()
                .map(|(name, amount)| (name.detached(), *amount))
                .collect(),
            queue: BTreeSet::new(),
            users: 0,
        };
        let unused = self.classes.iter().position(|own| own.users == 0);
        match unused {
            Some(at) => {
                self.classes[at] = class;
                at
            }
            None => {
                self.classes.push(class);
                self.classes.len() - 1
            }
        }
    }

    pub fn constrain(&mut self, class: ClassId, place: Place) {
        let class = &mut self.classes[class.0 as usize];
        class.queue.insert(place);
        class.users += 1;
        self.constrained += 1;
    }

    pub fn unconstrain(&mut self, class: ClassId, place: Place) {
        let class = &mut self.classes[class.0 as usize];
        class.queue.remove(&place);
        class.users -= 1;
        self.constrained -= 1;
    }

    /// Takes the task whose turn it is, with the class whose resources it now has.
    pub fn next(&mut self) -> Option<(Place, Option<ClassId>)> {
        if self.constrained > 0
            && let Some((place, class)) = self.next_constrained()
        {
            self.unconstrain(class, place);
            self.acquire(class);
            return Some((place, Some(class)));
        }
        self.ready.pop_first().map(|place| (place, None))
    }

    /// The best of those whose resources are free, if it comes before what is ready.
    fn next_constrained(&self) -> Option<(Place, ClassId)> {
        let mut tops: Vec<(Place, usize)> = self
            .classes
            .iter()
            .enumerate()
            .filter_map(|(at, class)| Some((*class.queue.first()?, at)))
            .collect();
        tops.sort_unstable();
        let mut reserved = vec![0.0; self.resources.len()];
        for (place, at) in tops {
            if self.ready.first().is_some_and(|ready| *ready < place) {
                return None;
            }
            let needs = &self.classes[at].needs;
            let is_free = |(resource, amount): &(usize, f64)| {
                self.resources[*resource].available - reserved[*resource] + TOLERANCE >= *amount
            };
            if needs.iter().all(is_free) {
                return Some((place, ClassId(at as u32)));
            }
            for (resource, amount) in needs {
                reserved[*resource] += amount;
            }
        }
        None
    }

    fn acquire(&mut self, class: ClassId) {
        let class = &mut self.classes[class.0 as usize];
        class.users += 1;
        for (resource, amount) in &class.needs {
            self.resources[*resource].available -= amount;
        }
    }

    pub fn release(&mut self, class: ClassId) {
        let class = &mut self.classes[class.0 as usize];
        class.users -= 1;
        for (resource, amount) in &class.needs {
            self.resources[*resource].available += amount;
        }
    }

    pub fn is_constrained(&self, class: ClassId, place: &Place) -> bool {
        self.classes[class.0 as usize].queue.contains(place)
    }

    pub fn constrained_count(&self) -> usize {
        self.constrained
    }

    /// What runs of these classes hold, for the check.
    pub fn needs(&self, class: ClassId) -> &[(usize, f64)] {
        &self.classes[class.0 as usize].needs
    }
}
