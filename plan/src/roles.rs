//! What a role gets: its own image and resources or those of all roles, and both environments.

use crate::environment;
use crate::quantity::Amount;
use crate::refusal::Refusals;
use crate::resolve::Defaults;
use crate::resolved::{ResolvedRole, Resources};
use contract::Role;
use crd::{DaskJobSpec, EnvVar, Quantity, RoleSpec, Template};
use std::collections::BTreeMap;

type Quantities = BTreeMap<String, Quantity>;

/// One role of a spec.
pub(crate) fn resolve(
    spec: &DaskJobSpec,
    which: Role,
    role: &RoleSpec,
    defaults: &Defaults,
    field: &str,
    refusals: &mut Refusals,
) -> ResolvedRole {
    environment::check(&role.env, &format!("{field}.env"), refusals);
    if let Some(image) = &role.image {
        check_image(image, &format!("{field}.image"), refusals);
    }
    // A role that sets requests or limits replaces both; what all roles share was checked once.
    let resources = if role.requests.is_some() || role.limits.is_some() {
        resources(
            role.requests.as_ref(),
            role.limits.as_ref(),
            field,
            refusals,
        )
    } else {
        resources(
            spec.requests.as_ref(),
            spec.limits.as_ref(),
            "spec",
            &mut Refusals::default(),
        )
    };
    ResolvedRole {
        image: role
            .image
            .as_deref()
            .or(spec.image.as_deref())
            .or(image_of_template(role.template.as_ref(), which))
            .or(image_of_template(spec.template.as_ref(), which))
            .unwrap_or(&defaults.image)
            .to_owned(),
        resources,
        env: environment::merge(&spec.env, &role.env),
        templates: spec
            .template
            .iter()
            .chain(&role.template)
            .cloned()
            .collect(),
    }
}

/// The image that a template gives the role's own container: it counts where no field of ours has one.
fn image_of_template(template: Option<&Template>, which: Role) -> Option<&str> {
    let containers = template?.spec.as_ref()?["containers"].as_array()?;
    containers
        .iter()
        .find(|container| container["name"] == which.as_str())?["image"]
        .as_str()
        .filter(|image| !image.is_empty())
}

/// What `spec` says for every role, checked once.
pub(crate) fn check_shared(spec: &DaskJobSpec, refusals: &mut Refusals) {
    let of_all: &[EnvVar] = &spec.env;
    environment::check(of_all, "spec.env", refusals);
    if let Some(image) = &spec.image {
        check_image(image, "spec.image", refusals);
    }
    resources(
        spec.requests.as_ref(),
        spec.limits.as_ref(),
        "spec",
        refusals,
    );
}

fn check_image(image: &str, field: &str, refusals: &mut Refusals) {
    if image.contains(char::is_whitespace) {
        refusals.add(
            field,
            "holds white space",
            "write an image reference such as registry.example.com/etl:1.4",
        );
    }
}

fn resources(
    requests: Option<&Quantities>,
    limits: Option<&Quantities>,
    field: &str,
    refusals: &mut Refusals,
) -> Resources {
    let mut requests = amounts(requests, &format!("{field}.requests"), refusals);
    let limits = amounts(limits, &format!("{field}.limits"), refusals);
    for (name, limit) in &limits {
        let request = requests.entry(name.clone()).or_insert(*limit);
        if *request > *limit {
            refusals.add(
                format!("{field}.requests[{name}]"),
                "is more than the limit",
                format!("lower it, or raise {field}.limits[{name}]"),
            );
        }
    }
    Resources { requests, limits }
}

fn amounts(
    raw: Option<&Quantities>,
    field: &str,
    refusals: &mut Refusals,
) -> BTreeMap<String, Amount> {
    let mut amounts = BTreeMap::new();
    for (name, quantity) in raw.into_iter().flatten() {
        match quantity.0.parse() {
            Ok(amount) => {
                amounts.insert(name.clone(), amount);
            }
            Err(error) => refusals.add(
                format!("{field}[{name}]"),
                format!("{error}"),
                "write an amount such as 500m, 2 or 4Gi",
            ),
        }
    }
    amounts
}
