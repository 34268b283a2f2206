//! Groups and prefixes of tasks: what is counted and averaged over tasks that look alike.
//!
//! A group lives until all its tasks are forgotten and no other group depends on it; prefixes and type names stay.
//! Invariant: counts are those of the tasks; `check` recounts them.

use crate::id_set::IdSet;
use crate::id_set::impl_id;
use crate::ids::WorkerId;
use crate::key_split::{GroupName, key_split, key_split_group};
use crate::task::{PHASES, Phase};
use hashbrown::HashTable;
use protocol::{Key, Value};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PrefixId(pub u32);

/// A type name of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TypeId(pub u32);

impl_id!(GroupId);

impl TypeId {
    pub const UNKNOWN: Self = Self(u32::MAX);
}

/// Ten years: nothing takes longer, whatever a worker says.
const LONGEST_US: f64 = 3.2e14;

/// How many tasks there are in each state.
pub(crate) type StateCounts = [u32; PHASES.len()];

pub(crate) struct Group {
    /// Canonical MessagePack of the name, so that `5` and `"5"` differ.
    pub name: Key,
    pub prefix: PrefixId,
    pub states: StateCounts,
    /// All tasks it ever had.
    pub size: u32,
    pub nbytes_total: i64,
    pub duration_us: u64,
    pub all_durations_us: Vec<(Arc<str>, u64)>,
    pub types: Vec<(TypeId, u32)>,
    pub dependencies: IdSet<GroupId>,
    /// How many other groups have it among their dependencies.
    referrers: u32,
    /// All its tasks are forgotten; it only lives in others' dependencies.
    removed: bool,
    pub start: f64,
    pub stop: f64,
    pub last_worker: Option<WorkerId>,
    pub last_worker_tasks_left: i64,
    pub span_id: Option<Arc<str>>,
}

pub(crate) struct Prefix {
    pub name: Arc<str>,
    pub states: StateCounts,
    /// How often tasks entered each state.
    pub state_totals: [u64; PHASES.len()],
    pub nbytes_total: i64,
    pub duration_us: u64,
    /// Everything ever, also of groups that are gone.
    pub all_durations_us: Vec<(Arc<str>, u64)>,
    /// Seconds; negative while unknown.
    pub duration_average: f64,
    /// Seconds; negative while unknown.
    pub max_exec_time: f64,
    pub suspicious: u64,
    /// Tasks being processed, without those that have seceded.
    pub processing: u32,
}

#[derive(Default)]
pub(crate) struct Groups {
    groups: Vec<Group>,
    free: Vec<GroupId>,
    by_name: HashTable<GroupId>,
    prefixes: Vec<Prefix>,
    prefix_by_name: HashTable<PrefixId>,
    types: Vec<Arc<str>>,
    type_by_name: HashTable<TypeId>,
    default_durations: Vec<(String, f64)>,
    live: usize,
}

/// FNV-1a: names are short, and the seed is fixed.
pub(crate) fn hash_text(text: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29)
}

impl Groups {
    pub fn new(default_durations: Vec<(String, f64)>) -> Self {
        Self {
            default_durations,
            ..Self::default()
        }
    }

    pub fn group(&self, id: GroupId) -> &Group {
        &self.groups[id.0 as usize]
    }

    pub fn group_mut(&mut self, id: GroupId) -> &mut Group {
        &mut self.groups[id.0 as usize]
    }

    pub fn prefix(&self, id: PrefixId) -> &Prefix {
        &self.prefixes[id.0 as usize]
    }

    pub fn prefix_mut(&mut self, id: PrefixId) -> &mut Prefix {
        &mut self.prefixes[id.0 as usize]
    }

    pub fn prefix_of(&self, id: GroupId) -> PrefixId {
        self.group(id).prefix
    }

    /// The group a key belongs to, made if it is not there.
    pub fn of_key(&mut self, key: &Key) -> GroupId {
        let name = match key_split_group(key) {
            GroupName::Text(text) => Key::str(&text),
            GroupName::Key(name) => name,
        };
        let groups = &self.groups;
        if let Some(found) = self
            .by_name
            .find(name.hash64(), |id| groups[id.0 as usize].name == name)
        {
            return *found;
        }
        let prefix = self.prefix_named(&key_split(key));
        self.add_group(name, prefix)
    }

    fn add_group(&mut self, name: Key, prefix: PrefixId) -> GroupId {
        let hash = name.hash64();
        let group = Group {
            name,
            prefix,
            states: StateCounts::default(),
            size: 0,
            nbytes_total: 0,
            duration_us: 0,
            all_durations_us: Vec::new(),
            types: Vec::new(),
            dependencies: IdSet::default(),
            referrers: 0,
            removed: false,
            start: 0.0,
            stop: 0.0,
            last_worker: None,
            last_worker_tasks_left: 0,
            span_id: None,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.groups[id.0 as usize] = group;
                id
            }
            None => {
                self.groups.push(group);
                GroupId(self.groups.len() as u32 - 1)
            }
        };
        let groups = &self.groups;
        self.by_name
            .insert_unique(hash, id, |other| groups[other.0 as usize].name.hash64());
        self.live += 1;
        id
    }

    fn prefix_named(&mut self, name: &str) -> PrefixId {
        let hash = hash_text(name.as_bytes());
        let prefixes = &self.prefixes;
        if let Some(found) = self
            .prefix_by_name
            .find(hash, |id| &*prefixes[id.0 as usize].name == name)
        {
            return *found;
        }
        let default = self.default_durations.iter().find(|(own, _)| own == name);
        let id = PrefixId(self.prefixes.len() as u32);
        self.prefixes.push(Prefix {
            name: Arc::from(name),
            states: StateCounts::default(),
            state_totals: [0; PHASES.len()],
            nbytes_total: 0,
            duration_us: 0,
            all_durations_us: Vec::new(),
            duration_average: default.map_or(-1.0, |(_, seconds)| *seconds),
            max_exec_time: -1.0,
            suspicious: 0,
            processing: 0,
        });
        let prefixes = &self.prefixes;
        self.prefix_by_name.insert_unique(hash, id, |other| {
            hash_text(prefixes[other.0 as usize].name.as_bytes())
        });
        id
    }

    /// The id of a type name.
    pub fn type_named(&mut self, name: &str) -> TypeId {
        let hash = hash_text(name.as_bytes());
        let types = &self.types;
        if let Some(found) = self
            .type_by_name
            .find(hash, |id| &*types[id.0 as usize] == name)
        {
            return *found;
        }
        let id = TypeId(self.types.len() as u32);
        self.types.push(Arc::from(name));
        let types = &self.types;
        self.type_by_name.insert_unique(hash, id, |other| {
            hash_text(types[other.0 as usize].as_bytes())
        });
        id
    }

    pub fn type_name(&self, id: TypeId) -> Option<&Arc<str>> {
        self.types.get(id.0 as usize)
    }

    /// A new task in state released.
    pub fn count_new(&mut self, id: GroupId) {
        let group = &mut self.groups[id.0 as usize];
        group.states[Phase::Released.index()] += 1;
        group.size += 1;
        let prefix = group.prefix;
        self.prefix_mut(prefix).states[Phase::Released.index()] += 1;
    }

    pub fn count_transition(&mut self, id: GroupId, from: Phase, to: Phase) {
        let group = &mut self.groups[id.0 as usize];
        group.states[from.index()] -= 1;
        group.states[to.index()] += 1;
        let prefix = &mut self.prefixes[group.prefix.0 as usize];
        prefix.states[from.index()] -= 1;
        prefix.states[to.index()] += 1;
        prefix.state_totals[to.index()] += 1;
    }

    pub fn add_dependency(&mut self, id: GroupId, on: GroupId) {
        if self.groups[id.0 as usize].dependencies.insert(on) && id != on {
            self.groups[on.0 as usize].referrers += 1;
        }
    }

    pub fn count_nbytes(&mut self, id: GroupId, change: i64) {
        let group = &mut self.groups[id.0 as usize];
        group.nbytes_total += change;
        self.prefixes[group.prefix.0 as usize].nbytes_total += change;
    }

    pub fn count_type(&mut self, id: GroupId, type_name: TypeId) {
        let types = &mut self.groups[id.0 as usize].types;
        match types.iter_mut().find(|(own, _)| *own == type_name) {
            Some((_, count)) => *count += 1,
            None => types.push((type_name, 1)),
        }
    }

    /// One stretch of work on a task, times in seconds.
    pub fn add_duration(&mut self, id: GroupId, action: &str, start: f64, stop: f64) {
        let micros = ((stop - start) * 1e6).round().clamp(0.0, LONGEST_US) as u64;
        let group = &mut self.groups[id.0 as usize];
        group.duration_us += micros;
        add_to(&mut group.all_durations_us, action, micros);
        let is_compute = action == "compute";
        if is_compute {
            group.stop = group.stop.max(stop);
            if group.start == 0.0 || group.start > start {
                group.start = start;
            }
        }
        let prefix = &mut self.prefixes[group.prefix.0 as usize];
        prefix.duration_us += micros;
        add_to(&mut prefix.all_durations_us, action, micros);
        if is_compute {
            let seconds = micros as f64 / 1e6;
            prefix.duration_average = if prefix.duration_average < 0.0 {
                seconds
            } else {
                0.5 * seconds + 0.5 * prefix.duration_average
            };
        }
    }

    /// Drops the group if nothing but forgotten tasks is left of it.
    pub fn remove_if_forgotten(&mut self, id: GroupId) {
        let group = &mut self.groups[id.0 as usize];
        let forgotten = Phase::Forgotten.index();
        let alive = group
            .states
            .iter()
            .enumerate()
            .any(|(at, count)| at != forgotten && *count > 0);
        if alive || group.removed {
            return;
        }
        group.removed = true;
        let hash = group.name.hash64();
        let dependencies = std::mem::take(&mut group.dependencies);
        if let Ok(entry) = self.by_name.find_entry(hash, |own| *own == id) {
            entry.remove();
        }
        self.live -= 1;
        self.settle_with_prefix(id);
        for on in dependencies.iter().filter(|on| *on != id) {
            self.groups[on.0 as usize].referrers -= 1;
            self.free_if_unused(on);
        }
        self.free_if_unused(id);
    }

    fn settle_with_prefix(&mut self, id: GroupId) {
        let group = &self.groups[id.0 as usize];
        let prefix = &mut self.prefixes[group.prefix.0 as usize];
        for (total, own) in prefix.states.iter_mut().zip(group.states) {
            *total -= own;
        }
        prefix.duration_us -= group.duration_us;
        prefix.nbytes_total -= group.nbytes_total;
    }

    fn free_if_unused(&mut self, id: GroupId) {
        let group = &self.groups[id.0 as usize];
        if group.removed && group.referrers == 0 {
            self.free.push(id);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups
            .iter()
            .enumerate()
            .filter(|(_, group)| !group.removed)
            .map(|(at, group)| (GroupId(at as u32), group))
    }

    pub fn prefixes(&self) -> impl Iterator<Item = (PrefixId, &Prefix)> {
        self.prefixes
            .iter()
            .enumerate()
            .map(|(at, prefix)| (PrefixId(at as u32), prefix))
    }

    pub fn live_groups(&self) -> usize {
        self.live
    }

    /// The name as users see it.
    pub fn name_of(&self, id: GroupId) -> Value {
        self.group(id).name.to_value()
    }

    /// Forgets everything but type names, as a restart does.
    pub fn clear(&mut self) {
        *self = Self {
            types: std::mem::take(&mut self.types),
            type_by_name: std::mem::take(&mut self.type_by_name),
            default_durations: std::mem::take(&mut self.default_durations),
            ..Self::default()
        };
    }
}

fn add_to(durations: &mut Vec<(Arc<str>, u64)>, action: &str, micros: u64) {
    match durations.iter_mut().find(|(own, _)| **own == *action) {
        Some((_, total)) => *total += micros,
        None => durations.push((Arc::from(action), micros)),
    }
}

impl Group {
    /// No task of it has anything left to do.
    pub fn is_done(&self) -> bool {
        [
            Phase::Waiting,
            Phase::NoWorker,
            Phase::Queued,
            Phase::Processing,
        ]
        .iter()
        .all(|phase| self.states[phase.index()] == 0)
    }
}
