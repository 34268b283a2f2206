//! What the API server holds: objects with versions, the history that watches follow, and what must be true after every
//! write.

use contract::labels;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Plural, namespace, name.
pub type Key = (String, String, String);

pub const NAMESPACE: &str = "team";

#[derive(Default)]
pub struct Storage {
    pub objects: BTreeMap<Key, Value>,
    pub version: u64,
    /// Version, plural, type of event, object.
    pub history: Vec<(u64, String, &'static str, Value)>,
    /// Watches from before this version are told that it is too old.
    pub oldest: u64,
    pub writes: Writes,
    /// Lists and gets, those that begin a watch included.
    pub reads: u32,
    /// Virtual seconds since the beginning, set by the world.
    pub now: u64,
    /// When jobs were deleted, by uid.
    deleted_jobs: BTreeMap<String, u64>,
    deletes: BTreeSet<String>,
    /// Deletes of what was being deleted already.
    pub repeated_deletes: u32,
    /// How much later than a delete a create is wrong.
    pub patience_seconds: u64,
    /// Uids of jobs whose end is known, with it.
    ends: BTreeMap<String, &'static str>,
    /// Name of a pod and what the server says to whoever makes it.
    pub refuses: BTreeMap<String, (u16, String)>,
}

/// Writes that took effect.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Writes {
    pub creates: u32,
    pub patches: u32,
    pub status: u32,
    pub deletes: u32,
    pub events: u32,
}

/// An answer: code and body.
pub type Answer = (u16, Value);

pub fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
        "metadata": {},
    });
    (code, body)
}

impl Storage {
    fn key(plural: &str, name: &str) -> Key {
        (plural.to_owned(), NAMESPACE.to_owned(), name.to_owned())
    }

    pub fn get(&self, plural: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Self::key(plural, name))
    }

    pub fn of(&self, plural: &str) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |((own, _, _), _)| own == plural)
            .map(|(_, object)| object)
    }

    /// Names of everything that a job may own.
    pub fn owned(&self) -> Vec<String> {
        let kinds = ["pods", "services", "configmaps", "networkpolicies"];
        self.objects
            .keys()
            .filter(|(plural, _, _)| kinds.contains(&plural.as_str()))
            .map(|(plural, _, name)| format!("{plural}/{name}"))
            .collect()
    }

    pub fn create(&mut self, plural: &str, mut object: Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if plural == "events" {
            self.writes.events += 1;
            return (201, object);
        }
        if let Some((code, message)) = self.refuses.get(&name) {
            return refusal(*code, "Forbidden", message);
        }
        let key = Self::key(plural, &name);
        if self.objects.contains_key(&key) {
            let message = format!("{plural} \"{name}\" already exists");
            return refusal(409, "AlreadyExists", &message);
        }
        let owner = object["metadata"]["ownerReferences"][0]["uid"].clone();
        if let Some(at) = owner.as_str().and_then(|uid| self.deleted_jobs.get(uid)) {
            assert!(
                self.now <= at + self.patience_seconds,
                "{plural}/{name} is made {} s after its job was deleted",
                self.now - at
            );
        }
        if !["daskjobs", "leases"].contains(&plural) {
            self.writes.creates += 1;
        }
        let metadata = &mut object["metadata"];
        metadata["uid"] = format!("uid-{}", self.version + 1).into();
        metadata["namespace"] = NAMESPACE.into();
        metadata["creationTimestamp"] = "2026-11-21T12:00:00Z".into();
        if plural == "daskjobs" {
            metadata["generation"] = 1.into();
        }
        if plural == "pods" {
            object["status"] = json!({"phase": "Pending"});
        }
        let stored = self.put(key, object, "ADDED");
        self.check();
        (201, stored)
    }

    /// Stores an object as it is, with a new version.
    fn put(&mut self, key: Key, mut object: Value, event: &'static str) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.history
            .push((self.version, key.0.clone(), event, object.clone()));
        self.objects.insert(key, object.clone());
        object
    }

    /// Changes an object that is there.
    pub fn change(&mut self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let key = Self::key(plural, name);
        let mut object = self.objects[&key].clone();
        change(&mut object);
        self.put(key, object, "MODIFIED");
        self.check();
    }

    pub fn put_status(&mut self, name: &str, sent: &Value) -> Answer {
        let Some(stored) = self.get("daskjobs", name) else {
            return refusal(404, "NotFound", "no such job");
        };
        let (known, given) = (&stored["metadata"], &sent["metadata"]);
        if known["resourceVersion"] != given["resourceVersion"] || known["uid"] != given["uid"] {
            return refusal(409, "Conflict", "the object has been modified");
        }
        assert_ne!(
            stored["status"], sent["status"],
            "a write that changes nothing"
        );
        let status = sent["status"].clone();
        self.writes.status += 1;
        self.change("daskjobs", name, |job| job["status"] = status);
        (200, self.get("daskjobs", name).unwrap().clone())
    }

    /// The one thing that changes in what a job owns.
    pub fn give_selector(&mut self, name: &str, patch: &Value) -> Answer {
        let Some(stored) = self.get("services", name).cloned() else {
            return refusal(404, "NotFound", "no such service");
        };
        if stored["metadata"]["uid"] != patch["metadata"]["uid"] {
            return refusal(409, "Conflict", "the uid is another");
        }
        self.writes.patches += 1;
        if !stored["spec"]["selector"].is_null() {
            // Two operators at once: what changes nothing has no new version.
            return (200, stored);
        }
        let (annotations, selector) = (
            &patch["metadata"]["annotations"],
            &patch["spec"]["selector"],
        );
        self.change("services", name, |service| {
            service["metadata"]["annotations"] = annotations.clone();
            service["spec"]["selector"] = selector.clone();
        });
        (200, self.get("services", name).unwrap().clone())
    }

    /// A merge; only whoever holds the Lease, or finds that nobody does, may change who does.
    pub fn patch_lease(&mut self, name: &str, patch: &Value) -> Answer {
        let Some(stored) = self.get("leases", name) else {
            return refusal(404, "NotFound", "no such lease");
        };
        let (holder, wanted) = (
            &stored["spec"]["holderIdentity"],
            &patch["spec"]["holderIdentity"],
        );
        if holder.is_string() && wanted.is_string() && holder != wanted {
            return refusal(409, "Conflict", "somebody else has set the field");
        }
        let changes = patch["spec"].as_object().unwrap();
        self.change("leases", name, |lease| {
            for (field, value) in changes {
                lease["spec"][field] = value.clone();
            }
        });
        (200, self.get("leases", name).unwrap().clone())
    }

    /// As if its holder had said nothing for long.
    pub fn run_out_lease(&mut self) {
        let leases: Vec<Value> = self.of("leases").cloned().collect();
        for lease in leases {
            let name = lease["metadata"]["name"].as_str().unwrap();
            self.change("leases", name, |lease| {
                lease["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z".into();
            });
        }
    }

    /// Who holds the Lease, and how often it changed hands.
    pub fn lease(&self) -> (Option<String>, u64) {
        let lease = self.of("leases").next();
        let spec = lease.map(|lease| lease["spec"].clone()).unwrap_or_default();
        let holder = spec["holderIdentity"].as_str().map(str::to_owned);
        (
            holder,
            spec["leaseTransitions"].as_u64().unwrap_or_default(),
        )
    }

    pub fn delete(&mut self, plural: &str, name: &str, options: &Value) -> Answer {
        let Some(stored) = self.get(plural, name) else {
            return refusal(404, "NotFound", "no such object");
        };
        let (stored, uid) = (
            stored.clone(),
            stored["metadata"]["uid"].as_str().unwrap().to_owned(),
        );
        if options["preconditions"]["uid"] != uid.as_str() {
            return refusal(
                409,
                "Conflict",
                "the UID in the precondition does not match",
            );
        }
        self.writes.deletes += 1;
        if !self.deletes.insert(uid) {
            self.repeated_deletes += 1;
        }
        let grace = options["gracePeriodSeconds"].as_u64().unwrap_or(5);
        if plural == "pods" && grace > 0 && stored["status"]["phase"] != "Pending" {
            if stored["metadata"]["deletionTimestamp"].is_null() {
                self.change(plural, name, |pod| {
                    pod["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z".into();
                });
            }
        } else {
            self.remove(plural, name);
        }
        (
            200,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
        )
    }

    /// It is gone, whoever wanted it.
    pub fn remove(&mut self, plural: &str, name: &str) {
        let key = Self::key(plural, name);
        let Some(mut object) = self.objects.remove(&key) else {
            return;
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if plural == "daskjobs" {
            let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
            self.deleted_jobs.insert(uid, self.now);
        }
        self.history.push((self.version, key.0, "DELETED", object));
        self.check();
    }

    /// What must hold whenever anything was written.
    fn check(&mut self) {
        let mut live_runners: BTreeMap<&str, &str> = BTreeMap::new();
        for pod in self.of("pods") {
            let metadata = &pod["metadata"];
            if metadata["labels"][labels::ROLE] == "runner" && !is_over(pod) {
                let (job, name) = (
                    metadata["labels"][labels::JOB_UID].as_str(),
                    &metadata["name"],
                );
                let other = live_runners.insert(job.unwrap(), name.as_str().unwrap());
                assert_eq!(other, None, "two live runners, {name} is one");
            }
        }
        let mut ends = std::mem::take(&mut self.ends);
        for job in self.of("daskjobs") {
            let holds = |type_: &str| {
                job["status"]["conditions"].as_array().is_some_and(|all| {
                    all.iter()
                        .any(|known| known["type"] == type_ && known["status"] == "True")
                })
            };
            let end = match (holds("Complete"), holds("Failed")) {
                (true, true) => panic!("Complete and Failed: {job}"),
                (true, false) => Some("Complete"),
                (false, true) => Some("Failed"),
                (false, false) => None,
            };
            let uid = job["metadata"]["uid"].as_str().unwrap();
            if let Some(known) = ends.get(uid) {
                assert_eq!(end, Some(*known), "an end never changes");
            } else if let Some(end) = end {
                ends.insert(uid.to_owned(), end);
            }
        }
        self.ends = ends;
    }
}

/// Nothing in it runs or will run.
pub fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"]
        .iter()
        .any(|phase| pod["status"]["phase"] == *phase)
}
