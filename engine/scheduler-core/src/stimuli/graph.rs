//! A materialised graph becomes tasks, at once.
//!
//! Tasks that are known already keep their specification and dependencies: adding edges to them would deadlock.

use crate::client::FIRE_AND_FORGET;
use crate::effects::{Effects, LogLevel, TaskPriority, ToClient};
use crate::error::TaskError;
use crate::graph::{Actors, Annotations, Dep, Graph, GraphTask};
use crate::group::GroupId;
use crate::ids::{ClientId, Time};
use crate::restrictions::Place;
use crate::scheduler::{Scheduler, compare_priority};
use crate::task::{Flags, Phase, TaskId};
use hashbrown::HashTable;
use protocol::{Key, Value, map};
use std::sync::Arc;

/// What became of a graph's tasks.
struct Taken {
    /// Those reached from the wanted keys, with their place in the graph if they have one.
    touched: Vec<(TaskId, Option<u32>)>,
    fresh: usize,
    collisions: usize,
}

/// The tasks of a graph by key.
struct Places(HashTable<u32>);

impl Places {
    fn new(tasks: &[GraphTask]) -> Self {
        let mut table = HashTable::with_capacity(tasks.len());
        for (at, task) in tasks.iter().enumerate() {
            table.insert_unique(task.key.hash64(), at as u32, |other| {
                tasks[*other as usize].key.hash64()
            });
        }
        Self(table)
    }

    fn find(&self, tasks: &[GraphTask], key: &Key) -> Option<u32> {
        self.0
            .find(key.hash64(), |at| tasks[*at as usize].key == *key)
            .copied()
    }
}

impl Scheduler {
    /// How many graphs are being materialised outside: the scheduler is not idle meanwhile.
    pub fn set_graphs_under_way(&mut self, count: u32) {
        self.graphs_under_way = count;
    }

    /// A client submits a graph.
    pub fn update_graph(&mut self, client: ClientId, graph: Graph, now: Time, fx: &mut Effects) {
        let stimulus = if graph.stimulus_id.is_empty() {
            now.stamp("update-graph")
        } else {
            graph.stimulus_id.detached()
        };
        self.begin(now, stimulus);
        if self.clients.get(client).is_none() {
            return;
        }
        let places = Places::new(&graph.tasks);
        let Some(order) = self.walk(&graph, &places) else {
            self.refuse_lost(client, &graph.keys, fx);
            self.end();
            return;
        };
        self.collect_wanted(&graph.keys);
        let taken = self.take_tasks(&graph, &order, fx);
        self.set_priorities(&graph, &taken);
        let wanted: Vec<TaskId> = graph
            .keys
            .iter()
            .filter_map(|key| self.tasks.find(key))
            .collect();
        for task in &wanted {
            self.add_wish(client, *task);
        }
        self.mark_actors(&graph, &wanted);
        self.recommend_wanted(&wanted);
        self.recommend_failed(&taken);
        self.forget_orphans(&taken);
        self.settle(fx);
        self.report_touched(client, &taken, fx);
        self.tell_of_graph(client, &graph, &taken, fx);
        self.end();
    }

    /// Everything reachable from the wanted keys, or `None` if any of it is neither in the graph nor known.
    fn walk(&self, graph: &Graph, places: &Places) -> Option<Vec<Step>> {
        let mut seen = vec![false; graph.tasks.len()];
        let mut order = Vec::with_capacity(graph.tasks.len());
        let mut stack = Vec::with_capacity(graph.keys.len());
        for key in graph.keys.iter().rev() {
            match places.find(&graph.tasks, key) {
                Some(at) => stack.push(at),
                None => order.push(Step::Known(self.tasks.find(key)?)),
            }
        }
        while let Some(at) = stack.pop() {
            if std::mem::replace(&mut seen[at as usize], true) {
                continue;
            }
            order.push(Step::InGraph(at));
            for dependency in dependencies_in(graph, at) {
                match dependency {
                    Dep::Task(other) => stack.push(*other),
                    Dep::External(key) => match places.find(&graph.tasks, key) {
                        Some(other) => stack.push(other),
                        None => order.push(Step::Known(self.tasks.find(key)?)),
                    },
                }
            }
        }
        Some(order)
    }

    fn refuse_lost(&mut self, client: ClientId, keys: &[Key], fx: &mut Effects) {
        let message = ToClient::CancelledKeys {
            keys: keys.to_vec(),
            reason: Value::text("lost dependencies"),
            message: Value::Nil,
        };
        self.tell_client(client, fx, message);
        for key in keys {
            if let Some(task) = self.tasks.find(key) {
                self.release_wish(client, task);
            }
        }
        self.settle(fx);
        self.fill_slots(fx);
        self.log(
            LogLevel::Info,
            "graph needs lost data and was cancelled",
            keys.len(),
            fx,
        );
        self.publish_graph_event(client, "cancelled", Value::Nil, fx);
    }

    fn take_tasks(&mut self, graph: &Graph, order: &[Step], fx: &mut Effects) -> Taken {
        self.tasks.reserve(order.len());
        let mut taken = Taken {
            touched: Vec::with_capacity(order.len()),
            fresh: 0,
            collisions: 0,
        };
        let mut to_link = Vec::with_capacity(order.len());
        let mut warned: Vec<GroupId> = Vec::new();
        for step in order {
            let at = match step {
                Step::Known(task) => {
                    taken.touched.push((*task, None));
                    continue;
                }
                Step::InGraph(at) => *at,
            };
            let given = &graph.tasks[at as usize];
            let (task, link) = match self.tasks.find(&given.key) {
                None => {
                    taken.fresh += 1;
                    (self.add_graph_task(given), true)
                }
                Some(known) if self.tasks[known].run_spec.is_none() => {
                    self.give_spec(known, given);
                    (known, true)
                }
                Some(known) => {
                    if !self.same_dependencies(known, graph, at) {
                        taken.collisions += 1;
                        self.warn_of_collision(known, &mut warned, fx);
                    }
                    (known, false)
                }
            };
            taken.touched.push((task, Some(at)));
            if link {
                to_link.push((task, at));
            }
        }
        for (task, at) in to_link {
            self.link(task, graph, at);
        }
        taken
    }

    fn add_graph_task(&mut self, given: &GraphTask) -> TaskId {
        let task = self.add_task(given.key.clone());
        self.give_spec(task, given);
        if let Some(annotations) = &given.annotations {
            self.annotate(task, annotations);
        }
        task
    }

    fn give_spec(&mut self, task: TaskId, given: &GraphTask) {
        let own = &mut self.tasks[task];
        own.run_spec = given.run_spec.clone();
        own.flags.set(Flags::DATA_PRODUCER, given.data_producer);
        own.is_barrier = given.is_barrier;
    }

    fn annotate(&mut self, task: TaskId, annotations: &Arc<Annotations>) {
        let mut addresses = Vec::new();
        let mut hosts = Vec::new();
        for name in &annotations.workers {
            match self.place_named(name) {
                Place::Address(address) => addresses.push(address),
                Place::Host(host) => hosts.push(host),
            }
        }
        let rare = self.tasks[task].rare_mut();
        rare.annotations = Some(Arc::clone(annotations));
        rare.worker_restrictions = addresses;
        rare.host_restrictions = hosts;
        rare.loose_restrictions = annotations.allow_other_workers;
        rare.resources = annotations.resources.clone();
        rare.retries = annotations.retries;
    }

    fn same_dependencies(&self, task: TaskId, graph: &Graph, at: u32) -> bool {
        let own = &self.tasks[task].dependencies;
        let mut given: Vec<Option<TaskId>> = dependencies_in(graph, at)
            .iter()
            .map(|dependency| self.tasks.find(key_of(graph, dependency)))
            .collect();
        given.sort_unstable();
        given.dedup();
        given.len() == own.len() && given.iter().all(|id| id.is_some_and(|id| own.contains(id)))
    }

    fn warn_of_collision(&self, task: TaskId, warned: &mut Vec<GroupId>, fx: &mut Effects) {
        let own = &self.tasks[task];
        if !warned.contains(&own.group) {
            warned.push(own.group);
            let message =
                "same key with other dependencies: the known task is kept; make keys unique";
            self.log(LogLevel::Warning, message, &own.key, fx);
        }
    }

    fn link(&mut self, task: TaskId, graph: &Graph, at: u32) {
        let group = self.tasks[task].group;
        for dependency in dependencies_in(graph, at) {
            let Some(on) = self.tasks.find(key_of(graph, dependency)) else {
                continue;
            };
            if self.tasks[task].dependencies.insert(on) {
                self.tasks[on].dependents.insert(task);
                self.groups.add_dependency(group, self.tasks[on].group);
                self.count_new_edge(task, on);
            }
        }
    }

    /// An edge to a task that is being waited or worked for already.
    fn count_new_edge(&mut self, task: TaskId, on: TaskId) {
        if !self.tasks[task].has(Flags::WAITS) {
            return;
        }
        self.tasks[on].waiters += 1;
        let lost = self.tasks[on].who_has.is_empty();
        if let crate::task::State::Waiting { missing } = &mut self.tasks[task].state
            && lost
        {
            *missing += 1;
        }
        if lost && self.tasks[on].phase() == Phase::Released {
            self.recommend(on, Phase::Waiting);
        }
    }

    fn set_priorities(&mut self, graph: &Graph, taken: &Taken) {
        let generation = self.generation_of(graph);
        for (task, at) in &taken.touched {
            let Some(at) = at else { continue };
            let own = &mut self.tasks[*task];
            // In the queue it has its place already.
            if own.has(Flags::HAS_PRIORITY) || own.phase() == Phase::Queued {
                continue;
            }
            let annotated = own
                .rare
                .as_ref()
                .and_then(|rare| rare.annotations.as_ref())
                .and_then(|annotations| annotations.priority);
            let internal = graph.internal_priority.get(*at as usize);
            own.priority = TaskPriority {
                user: 0.0 - annotated.unwrap_or(graph.user_priority),
                generation,
                internal: internal.copied().unwrap_or(*at as i32),
            };
            own.flags.set(Flags::HAS_PRIORITY, true);
        }
    }

    /// Older graphs first; graphs in quick succession share a generation; tasks of tasks go before their maker.
    fn generation_of(&mut self, graph: &Graph) -> f64 {
        if let Some(key) = &graph.submitting_task {
            return match self.tasks.find(key) {
                Some(maker) => self.tasks[maker].priority.user - 0.01,
                None => self.generation,
            };
        }
        let quiet_until = self
            .last_graph
            .map(|last| last.0.saturating_add(graph.fifo_timeout_ns));
        if quiet_until.is_none_or(|until| until < self.now.0) {
            self.generation += 1.0;
            self.last_graph = Some(self.now);
        }
        self.generation
    }

    fn mark_actors(&mut self, graph: &Graph, wanted: &[TaskId]) {
        let actors: Vec<TaskId> = match &graph.actors {
            Actors::No => return,
            Actors::All => wanted.to_vec(),
            Actors::These(keys) => keys.iter().filter_map(|key| self.tasks.find(key)).collect(),
        };
        for task in actors {
            // What runs or is there already has no home that could be its own.
            if self.tasks[task].phase() == Phase::Released {
                self.tasks[task].flags.set(Flags::ACTOR, true);
            }
        }
    }

    /// The last recommended is the first to run, so the most urgent comes last.
    fn recommend_wanted(&mut self, wanted: &[TaskId]) {
        let mut released: Vec<TaskId> = wanted
            .iter()
            .copied()
            .filter(|task| self.tasks[*task].phase() == Phase::Released)
            .collect();
        let tasks = &self.tasks;
        released.sort_by(|left, right| {
            compare_priority(&tasks[*right].priority, &tasks[*left].priority)
        });
        for task in released {
            self.recommend(task, Phase::Waiting);
        }
    }

    /// What depends on a failure has failed, unless its result is there.
    fn recommend_failed(&mut self, taken: &Taken) {
        for (task, _) in &taken.touched {
            let own = &self.tasks[*task];
            if !own.who_has.is_empty() {
                continue;
            }
            let blame = own
                .dependencies
                .iter()
                .find_map(|dependency| self.tasks[dependency].blame().map(Arc::clone));
            if let Some(blame) = blame {
                self.tasks[*task].rare_mut().blame = Some(blame);
                self.recommend(*task, Phase::Erred);
            }
        }
    }

    /// Inputs of a task that kept its old ones, or of nothing: nobody will ever ask for them.
    fn forget_orphans(&mut self, taken: &Taken) {
        for (task, _) in &taken.touched {
            let own = &self.tasks[*task];
            if own.dependents.is_empty() && own.who_wants.is_empty() {
                self.recommend(*task, Phase::Forgotten);
            }
        }
    }

    fn report_touched(&self, client: ClientId, taken: &Taken, fx: &mut Effects) {
        for (task, _) in &taken.touched {
            let own = &self.tasks[*task];
            let done = matches!(own.phase(), Phase::Memory | Phase::Erred);
            if done && own.who_wants.contains(client) {
                self.report_state(client, *task, fx);
            }
        }
    }

    fn tell_of_graph(&mut self, client: ClientId, graph: &Graph, taken: &Taken, fx: &mut Effects) {
        let metrics = map! {
            "tasks" => graph.tasks.len(),
            "new_tasks" => taken.fresh,
            "key_collisions" => taken.collisions,
            "start_timestamp_seconds" => self.now.seconds(),
        };
        self.publish_graph_event(client, "OK", metrics, fx);
    }

    fn publish_graph_event(
        &mut self,
        client: ClientId,
        status: &'static str,
        metrics: Value,
        fx: &mut Effects,
    ) {
        let mut event = map! {
            "action" => "update-graph",
            "stimulus_id" => self.stimulus.clone(),
            "status" => status,
        };
        if !metrics.is_nil() {
            event.set("metrics", metrics);
        }
        self.publish_event("scheduler", &event, fx);
        if let Some(name) = self.clients.get(client).map(|own| own.name.clone())
            && client != FIRE_AND_FORGET
        {
            self.publish_event(&name, &event, fx);
        }
    }

    /// A graph that could not be materialised: its keys have failed, though no task of theirs exists.
    pub fn graph_failed(
        &mut self,
        client: ClientId,
        keys: Vec<Key>,
        e: TaskError,
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin_named(now, "update-graph");
        self.publish_graph_event(client, "error", Value::Nil, fx);
        for key in keys {
            let wanters = self
                .tasks
                .find(&key)
                .map(|task| &self.tasks[task].who_wants);
            let others = wanters
                .into_iter()
                .flat_map(|who| who.iter())
                .filter(|other| *other != client);
            for receiver in others.chain([client]) {
                let message = ToClient::TaskErred {
                    key: key.clone(),
                    exception: e.exception.clone(),
                    traceback: e.traceback.clone(),
                };
                self.tell_client(receiver, fx, message);
            }
        }
        self.end();
    }
}

/// One task on the walk through a graph.
enum Step {
    InGraph(u32),
    /// Not in the graph, but known: a result of an earlier one.
    Known(TaskId),
}

fn dependencies_in(graph: &Graph, at: u32) -> &[Dep] {
    let range = &graph.tasks[at as usize].dependencies;
    &graph.dependencies[range.start as usize..range.end as usize]
}

fn key_of<'a>(graph: &'a Graph, dependency: &'a Dep) -> &'a Key {
    match dependency {
        Dep::Task(at) => &graph.tasks[*at as usize].key,
        Dep::External(key) => key,
    }
}
