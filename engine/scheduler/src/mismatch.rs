//! Which package versions differ between a peer, this scheduler and the workers.
//!
//! Pure: reads the `versions` maps that peers send when they register. A difference is a warning; a release of
//! distributed outside the supported range is a refusal that names both versions.

use protocol::{Text, Value};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

/// Packages whose version on the scheduler counts; others only matter between clients and workers.
const RELEVANT_ON_THE_SCHEDULER: [&str; 7] = [
    "cloudpickle",
    "dask",
    "distributed",
    "lz4",
    "python",
    "toolz",
    "tornado",
];

/// The warning stock Dask's client shows, or an empty text when all agree.
pub fn warning(
    scheduler: &Value,
    workers: &[(Arc<str>, Value)],
    source: &Value,
    source_name: &str,
) -> String {
    let mut names = BTreeSet::new();
    collect_names(source, &mut names);
    collect_names(scheduler, &mut names);
    for (_, worker) in workers {
        collect_names(worker, &mut names);
    }
    let rows: Vec<[String; 4]> = names
        .iter()
        .filter_map(|name| row(name, scheduler, workers, source))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["Package", source_name, "Scheduler", "Workers"].map(String::from);
    format!("Mismatched versions found\n\n{}", table(&header, &rows))
}

/// Why a peer with these versions may not join, if so.
pub fn refusal(versions: &Value, supported: (&str, &str)) -> Option<String> {
    let found = package(versions, "distributed")?;
    let release = parse_release(&found)?;
    let (oldest, newest) = (parse_release(supported.0)?, parse_release(supported.1)?);
    if release >= oldest && release.first() <= newest.first() {
        return None;
    }
    Some(format!(
        "this peer runs distributed {found}, but this scheduler supports distributed {} to {}; install a supported \
         release, or run the cluster with `engine: dask`",
        supported.0, supported.1
    ))
}

/// Year, month and patch as numbers; `None` for something that is not a release number.
fn parse_release(version: &str) -> Option<Vec<u32>> {
    let release = version.split('+').next().unwrap_or(version);
    release
        .split('.')
        .take(3)
        .map(|part| part.parse().ok())
        .collect()
}

fn row(
    name: &str,
    scheduler: &Value,
    workers: &[(Arc<str>, Value)],
    source: &Value,
) -> Option<[String; 4]> {
    let on_scheduler = shown(scheduler, name);
    let on_source = shown(source, name);
    let on_workers: BTreeSet<String> = workers
        .iter()
        .map(|(_, worker)| shown(worker, name))
        .collect();
    let mut all = on_workers.clone();
    all.insert(on_source.clone());
    if RELEVANT_ON_THE_SCHEDULER.contains(&name) {
        all.insert(on_scheduler.clone());
    }
    if all.len() <= 1 {
        return None;
    }
    let listed: Vec<&str> = on_workers.iter().map(String::as_str).collect();
    let workers_cell = match listed.as_slice() {
        [] => "None".to_owned(),
        [one] => (*one).to_owned(),
        many => format!("{{{}}}", many.join(", ")),
    };
    Some([name.to_owned(), on_source, on_scheduler, workers_cell])
}

fn table(header: &[String; 4], rows: &[[String; 4]]) -> String {
    let widths: Vec<usize> = (0..4)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([header[column].chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let bar: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect();
    let line = |cells: &[String; 4]| {
        let mut text = String::from("|");
        for (cell, width) in cells.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _infallible = write!(text, " {cell:<width$} |");
        }
        text
    };
    let mut lines = vec![format!("{bar}+"), line(header), format!("{bar}+")];
    lines.extend(rows.iter().map(line));
    lines.push(format!("{bar}+"));
    lines.join("\n")
}

fn collect_names(versions: &Value, names: &mut BTreeSet<String>) {
    let packages = versions.get("packages").and_then(Value::as_map);
    for (name, _) in packages.unwrap_or_default() {
        if let Some(name) = name.as_str() {
            names.insert(name.to_owned());
        }
    }
}

fn package(versions: &Value, name: &str) -> Option<String> {
    match versions.get("packages")?.get(name)? {
        Value::Str(version) => Some(Text::to_string_lossy(version).into_owned()),
        _ => None,
    }
}

fn shown(versions: &Value, name: &str) -> String {
    match versions.get("packages") {
        Some(packages @ Value::Map(_)) => match packages.get(name) {
            Some(Value::Str(version)) => version.to_string_lossy().into_owned(),
            Some(Value::Nil) => "None".into(),
            Some(_) => "UNKNOWN".into(),
            None => "MISSING".into(),
        },
        _ => "UNKNOWN".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(packages: &[(&str, &str)]) -> Value {
        let packages: Value = packages
            .iter()
            .map(|(name, version)| (Value::from(*name), Value::from(*version)))
            .collect();
        Value::Map(vec![(Value::from("packages"), packages)])
    }

    #[test]
    fn equal_versions_give_no_warning() {
        let same = versions(&[("dask", "2026.8.0"), ("numpy", "2.4.0")]);
        assert_eq!(
            warning(
                &same,
                &[(Arc::from("tcp://w"), same.clone())],
                &same,
                "Client"
            ),
            ""
        );
    }

    #[test]
    fn a_package_the_scheduler_does_not_care_about_may_differ_on_it() {
        let scheduler = versions(&[("numpy", "1.0.0")]);
        let peer = versions(&[("numpy", "2.4.0")]);
        assert_eq!(
            warning(
                &scheduler,
                &[(Arc::from("tcp://w"), peer.clone())],
                &peer,
                "Client"
            ),
            ""
        );
    }

    #[test]
    fn a_difference_is_shown_as_a_table() {
        let scheduler = versions(&[("dask", "2026.8.0")]);
        let peer = versions(&[("dask", "2026.6.0")]);
        let text = warning(&scheduler, &[], &peer, "Client");
        assert!(
            text.starts_with("Mismatched versions found\n\n+---"),
            "{text}"
        );
        assert!(
            text.contains("| dask    | 2026.6.0 | 2026.8.0  | None    |"),
            "{text}"
        );
    }

    #[test]
    fn a_peer_outside_the_supported_range_is_refused_by_both_versions() {
        let old = versions(&[("distributed", "2024.1.0")]);
        let text = refusal(&old, ("2025.12.0", "2026.8.0")).unwrap();
        assert!(
            text.contains("2024.1.0") && text.contains("2025.12.0"),
            "{text}"
        );
        for supported in ["2025.12.0", "2026.8.0", "2026.9.1", "2026.8.0+5.gabc"] {
            let peer = versions(&[("distributed", supported)]);
            assert_eq!(
                refusal(&peer, ("2025.12.0", "2026.8.0")),
                None,
                "{supported}"
            );
        }
    }
}
