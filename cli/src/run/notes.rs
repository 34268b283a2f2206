//! What of a manifest has no meaning on one machine: said, or refused where ignoring it would be wrong.

use super::environment::of_pod;
use crate::control_groups::Controller;
use plan::{EnvValue, Refusal, ResolvedEnv, ResolvedJob, ResolvedRole};
use std::collections::BTreeSet;

/// What is ignored, as sentences.
pub fn ignored(job: &ResolvedJob) -> Vec<String> {
    let mut notes = Vec::new();
    let default_image = plan::Defaults::default().image;
    if roles(job).any(|(_, role)| role.image != default_image) {
        notes.push("image is ignored: programs of this machine are used".to_owned());
    }
    if roles(job).any(|(_, role)| !role.templates.is_empty()) {
        notes.push("template is ignored: there are no pods".to_owned());
    }
    if !job.network_policy_from.is_empty() {
        notes.push("networkPolicy is ignored: everything listens on loopback only".to_owned());
    }
    if job.deadlines.ttl_seconds_after_finished.is_some() {
        notes.push(
            "ttlSecondsAfterFinished is ignored: everything is removed at the end".to_owned(),
        );
    }
    notes
}

/// Which limits of the manifest this machine does not keep, and why.
pub fn not_enforced(
    job: &ResolvedJob,
    why_not: &dyn Fn(Controller) -> Option<String>,
) -> Option<String> {
    let wanted = |controller: &Controller| {
        roles(job).any(|(_, role)| role.resources.limits.contains_key(controller.as_str()))
    };
    let missing: Vec<(&str, String)> = Controller::ALL
        .into_iter()
        .filter(wanted)
        .filter_map(|controller| Some((controller.as_str(), why_not(controller)?)))
        .collect();
    let (_, why) = missing.first()?;
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let still = if names.contains(&Controller::Memory.as_str()) {
        " (workers still watch their own memory)"
    } else {
        ""
    };
    Some(format!(
        "{} limits are not enforced{still}: {why}",
        names.join(" and ")
    ))
}

/// What cannot be run here, and why.
pub fn impossible(job: &ResolvedJob, shell_has: &dyn Fn(&str) -> bool) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut named = BTreeSet::new();
    if job.suspend {
        refusals.push(Refusal::new(
            "spec.suspend",
            "a suspended job runs nothing",
            "set suspend to false to run it here",
        ));
    }
    for (field, role) in roles(job) {
        for variable in &role.env {
            if needs_cluster(variable, job)
                && !shell_has(&variable.name)
                && named.insert(&variable.name)
            {
                refusals.push(Refusal::new(
                    format!("{field}.env"),
                    format!("the value of {} comes from a cluster", variable.name),
                    format!("set {} in your shell before daskjob run", variable.name),
                ));
            }
        }
    }
    refusals
}

fn needs_cluster(variable: &ResolvedEnv, job: &ResolvedJob) -> bool {
    let EnvValue::ValueFrom(source) = &variable.value else {
        return false;
    };
    let optional = ["secretKeyRef", "configMapKeyRef"]
        .iter()
        .any(|kind| source[*kind]["optional"] == true);
    !optional && of_pod(source, job, "").is_none()
}

fn roles(job: &ResolvedJob) -> impl Iterator<Item = (String, &ResolvedRole)> {
    let runner = job
        .job
        .iter()
        .map(|runner| ("spec.job".to_owned(), &runner.role));
    let groups = job.worker_groups.iter().map(|group| {
        let field = if group.name == crd::DEFAULT_GROUP {
            "spec.workers".to_owned()
        } else {
            format!("spec.workerGroups[{}]", group.name)
        };
        (field, &group.role)
    });
    runner
        .chain([("spec.scheduler".to_owned(), &job.scheduler)])
        .chain(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(spec: &str) -> ResolvedJob {
        let text = format!(
            "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {{name: x}}\nspec: {spec}\n"
        );
        match plan::read(&text, &plan::Defaults::default())
            .remove(0)
            .outcome
        {
            plan::Outcome::Job(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_ignored_is_said_and_a_plain_job_has_nothing_to_say() {
        assert_eq!(ignored(&job("{job: {command: [x]}}")), Vec::<String>::new());
        let notes = ignored(&job(
            "{image: a, template: {spec: {}}, ttlSecondsAfterFinished: 1, networkPolicy: {from: [{}]}}",
        ));
        assert_eq!(notes.len(), 4, "{notes:?}");
    }

    #[test]
    fn limits_that_do_not_hold_are_one_note_and_only_where_there_are_any() {
        let nowhere = |_| Some("no control groups are mounted here".to_owned());
        let nothing = "{job: {command: [x]}, workers: {requests: {cpu: 1}}}";
        assert_eq!(not_enforced(&job(nothing), &nowhere), None);
        let both = "{scheduler: {limits: {cpu: 1}}, workers: {limits: {memory: 1Gi}}}";
        assert_eq!(
            not_enforced(&job(both), &nowhere).as_deref(),
            Some(
                "memory and cpu limits are not enforced (workers still watch their own memory): \
                 no control groups are mounted here"
            )
        );
        let only_memory_holds =
            |controller| (controller == Controller::Cpu).then(|| "it is not".to_owned());
        assert_eq!(
            not_enforced(&job(both), &only_memory_holds).as_deref(),
            Some("cpu limits are not enforced: it is not")
        );
        assert_eq!(not_enforced(&job(both), &|_| None), None);
    }

    #[test]
    fn a_suspended_job_is_refused_with_a_remedy() {
        let refusals = impossible(&job("{suspend: true, job: {command: [x]}}"), &|_| false);
        assert_eq!(refusals[0].field, "spec.suspend");
    }

    #[test]
    fn a_secret_must_be_in_the_shell_unless_it_is_optional() {
        let spec = "{env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: a, key: b}}}], job: {command: [x]}}";
        let refusals = impossible(&job(spec), &|_| false);
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert!(refusals[0].remedy.contains("set TOKEN in your shell"));
        assert_eq!(impossible(&job(spec), &|name| name == "TOKEN"), []);
        let optional = "{env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: a, key: b, optional: true}}}], job: {command: [x]}}";
        assert_eq!(impossible(&job(optional), &|_| false), []);
        let secret = "valueFrom: {secretKeyRef: {name: a, key: b}}";
        let two = format!("{{name: MY_TOKEN, {secret}}}, {{name: TOKEN, {secret}}}");
        let each = format!("{{env: [{two}], workers: {{env: [{two}]}}, job: {{command: [x]}}}}");
        let refusals = impossible(&job(&each), &|_| false);
        assert_eq!(refusals.len(), 2, "each once: {refusals:?}");
    }
}
