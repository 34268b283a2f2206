//! What a group of workers gets: count, bounds, threads, memory limit, abstract resources.

use crate::refusal::Refusals;
use crate::resolve::Defaults;
use crate::resolved::{ResolvedWorkerGroup, Resources, Scaling};
use crate::roles;
use contract::Role;
use crd::{DEFAULT_GROUP, DaskJobSpec, WorkersSpec};
use std::collections::BTreeMap;

/// The resource name of a graphics card, and what Dask programs call it.
const GPU: (&str, &str) = ("nvidia.com/gpu", "GPU");

/// Every group of a spec, the default one first.
pub(crate) fn resolve_groups(
    spec: &DaskJobSpec,
    defaults: &Defaults,
    refusals: &mut Refusals,
) -> Vec<ResolvedWorkerGroup> {
    let of_default = spec.workers.clone().unwrap_or_default();
    let mut groups = vec![resolve_group(
        spec,
        DEFAULT_GROUP,
        &of_default,
        defaults,
        "spec.workers",
        refusals,
    )];
    for (index, group) in spec.worker_groups.iter().enumerate() {
        let field = format!("spec.workerGroups[{index}]");
        check_name(&group.name, &groups, &format!("{field}.name"), refusals);
        groups.push(resolve_group(
            spec,
            &group.name,
            &group.workers,
            defaults,
            &field,
            refusals,
        ));
    }
    groups
}

fn check_name(name: &str, earlier: &[ResolvedWorkerGroup], field: &str, refusals: &mut Refusals) {
    let label = name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if !label {
        refusals.add(
            field,
            format!("\"{name}\" cannot be the name of a group"),
            "use lower-case letters, digits and -, beginning with a letter and not ending with -",
        );
    } else if name == DEFAULT_GROUP {
        refusals.add(
            field,
            "the group default is spec.workers",
            "choose another name",
        );
    } else if earlier.iter().any(|group| group.name == name) {
        refusals.add(
            field,
            format!("there is another group {name}"),
            "choose another name",
        );
    }
}

fn resolve_group(
    spec: &DaskJobSpec,
    name: &str,
    workers: &WorkersSpec,
    defaults: &Defaults,
    field: &str,
    refusals: &mut Refusals,
) -> ResolvedWorkerGroup {
    let role = roles::resolve(spec, Role::Worker, &workers.role, defaults, field, refusals);
    let scaling = scaling(workers, field, refusals);
    let count = count(workers, scaling, field, refusals);
    let cores = role
        .resources
        .limit_or_request("cpu")
        .map(|amount| amount.rounded_up());
    let memory = role
        .resources
        .limit_or_request("memory")
        .filter(|amount| !amount.is_zero());
    ResolvedWorkerGroup {
        name: name.to_owned(),
        count,
        scaling,
        threads: workers
            .threads
            .map(unsigned)
            .or(cores.map(|cores| u32::try_from(cores).unwrap_or(u32::MAX)))
            .unwrap_or(1)
            .max(1),
        memory_limit_bytes: memory.map(|amount| amount.rounded_up()),
        dask_resources: dask_resources(workers, &role.resources, field, refusals),
        role,
    }
}

fn scaling(workers: &WorkersSpec, field: &str, refusals: &mut Refusals) -> Option<Scaling> {
    let Some(maximum) = workers.maximum.map(unsigned) else {
        if workers.minimum.is_some() {
            refusals.add(
                format!("{field}.minimum"),
                "minimum needs a maximum",
                "add maximum, or write numberOfWorkers for a fixed count",
            );
        }
        return None;
    };
    let minimum = workers.minimum.map_or(1, unsigned);
    if minimum > maximum {
        refusals.add(
            format!("{field}.minimum"),
            format!("minimum {minimum} is larger than maximum {maximum}"),
            "lower minimum or raise maximum",
        );
    }
    Some(Scaling { minimum, maximum })
}

fn count(
    workers: &WorkersSpec,
    scaling: Option<Scaling>,
    field: &str,
    refusals: &mut Refusals,
) -> u32 {
    let (name, written) = match (
        workers.number_of_workers,
        workers.number_of_workers_snake_case,
    ) {
        (Some(_), Some(_)) => {
            refusals.add(
                format!("{field}.number_of_workers"),
                "number_of_workers and numberOfWorkers are the same setting",
                "write one of them",
            );
            return 1;
        }
        (Some(count), None) => ("numberOfWorkers", Some(unsigned(count))),
        (None, snake_case) => ("number_of_workers", snake_case.map(unsigned)),
    };
    let (Some(count), Some(bounds)) = (written, scaling) else {
        return written.unwrap_or_else(|| {
            scaling.map_or(1, |bounds| bounds.minimum.max(1).min(bounds.maximum))
        });
    };
    if bounds.minimum <= bounds.maximum && !(bounds.minimum..=bounds.maximum).contains(&count) {
        refusals.add(
            format!("{field}.{name}"),
            format!(
                "{count} is outside minimum {} and maximum {}",
                bounds.minimum, bounds.maximum
            ),
            "write a count between the two",
        );
    }
    count
}

fn dask_resources(
    workers: &WorkersSpec,
    resources: &Resources,
    field: &str,
    refusals: &mut Refusals,
) -> BTreeMap<String, f64> {
    for (name, amount) in &workers.dask_resources {
        let field = format!("{field}.daskResources[{name}]");
        if name.is_empty()
            || name.contains(|letter: char| letter.is_whitespace() || "=,".contains(letter))
        {
            refusals.add(
                &field,
                "the name is empty or holds white space, = or ,",
                "use a word such as GPU",
            );
        }
        if !amount.is_finite() || *amount < 0.0 {
            refusals.add(&field, format!("{amount} is negative"), "write 0 or more");
        }
    }
    let mut advertised = workers.dask_resources.clone();
    if let Some(cards) = resources.limits.get(GPU.0) {
        advertised.entry(GPU.1.to_owned()).or_insert(cards.as_f64());
    }
    advertised
}

/// The schema bounds these numbers from below at 0 or 1.
fn unsigned(number: i32) -> u32 {
    number.max(0).unsigned_abs()
}
