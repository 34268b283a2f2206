//! `daskjob scale`: the number of workers of a group, by the field the manifest has.

use crate::connect::{Connection, ConnectionArgs, FIELD_MANAGER};
use crate::job::{self, Job};
use crate::problem::Problem;
use clap::Args;
use crd::DEFAULT_GROUP;
use http::{Method, Request, header};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

/// Change the number of workers of a job. More start at once; of fewer, those with the least results hand them over
/// first, and nothing is computed again.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// The job
    #[arg(value_name = "NAME", value_parser = job::name_argument)]
    pub name: String,

    /// Worker group, where the job has several [default: default, which is spec.workers], and the number of workers
    #[arg(value_name = "[GROUP] NUMBER", required = true, num_args = 1..=2)]
    pub group_and_number: Vec<String>,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// How a number is written.
#[derive(Debug, PartialEq)]
enum Write {
    /// By the scale subresource, as kubectl scale and autoscalers do.
    Scale,
    /// The manifest has the other spelling, which the scale subresource does not know.
    OtherSpelling,
    /// A further group, at this place of the list.
    Group(usize),
    Nothing,
}

pub async fn run(arguments: &ScaleArgs) -> Result<u8, Problem> {
    let (group, number) = read_arguments(&arguments.group_and_number)?;
    let connection = Connection::open(&arguments.connection).await?;
    let found = connection.job(&arguments.name).await?;
    job::refuse_finished(&found, "be scaled")?;
    let name = found.name();
    match way(&found, group, number)? {
        Write::Scale => {
            let patch = json!({"spec": {"replicas": number}});
            let scaled = connection
                .jobs()
                .patch_scale(name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            scaled.map_err(|error| {
                let mut call = connection.call("patch", name);
                call.resource = "daskjobs/scale.daskjob.dev";
                call.problem(error)
            })?;
        }
        Write::OtherSpelling => {
            let workers = json!({"number_of_workers": null, "numberOfWorkers": number});
            connection
                .merge(name, &json!({"spec": {"workers": workers}}))
                .await?;
        }
        Write::Group(index) => scale_group(&connection, &found, index, number).await?,
        Write::Nothing => {
            eprintln!("daskjob: {name}: group {group} has {number} workers already");
            return Ok(0);
        }
    }
    let suspended = match found.spec()["suspend"].as_bool() {
        Some(true) => "; it is suspended, so none start now",
        Some(false) | None => "",
    };
    eprintln!("daskjob: {name}: group {group} is to have {number} workers{suspended}");
    Ok(0)
}

fn read_arguments(given: &[String]) -> Result<(&str, u32), Problem> {
    let number = given.last().map_or("", String::as_str);
    let group = match given.len() {
        2 => given[0].as_str(),
        _ => DEFAULT_GROUP,
    };
    let read = number
        .parse()
        .ok()
        .filter(|number| (1..=10_000).contains(number));
    let number = read.ok_or_else(|| {
        Problem::refused(
            format!("\"{number}\" is no number of workers"),
            "write a number from 1 to 10000, as in daskjob scale NAME 4 or daskjob scale NAME GROUP 4",
        )
    })?;
    Ok((group, number))
}

/// Which field holds the number, or why it cannot be changed.
fn way(job: &Job, group: &str, number: u32) -> Result<Write, Problem> {
    let spec = job.spec();
    let place = match group {
        DEFAULT_GROUP => None,
        group => Some(index_of(spec, group)?),
    };
    let workers = match place {
        None => &spec["workers"],
        Some(index) => &spec["workerGroups"][index],
    };
    if !workers["maximum"].is_null() {
        return Err(Problem::refused(
            format!("group {group} adapts to its load, between minimum and maximum"),
            format!(
                "edit these: kubectl edit dj {} -n {}",
                job.name(),
                job.namespace()
            ),
        ));
    }
    if workers["numberOfWorkers"] == number || workers["number_of_workers"] == number {
        return Ok(Write::Nothing);
    }
    Ok(match place {
        Some(index) => Write::Group(index),
        None if workers["number_of_workers"].is_null() => Write::Scale,
        None => Write::OtherSpelling,
    })
}

fn index_of(spec: &Value, group: &str) -> Result<usize, Problem> {
    let groups: Vec<&str> = spec["workerGroups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|group| group["name"].as_str())
        .collect();
    groups
        .iter()
        .position(|name| *name == group)
        .ok_or_else(|| {
            let all: Vec<&str> = [DEFAULT_GROUP]
                .into_iter()
                .chain(groups.iter().copied())
                .collect();
            let remedy = match plan::nearest(group, all.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("the groups are {}", all.join(", ")),
            };
            Problem::refused(format!("the job has no worker group {group}"), remedy)
        })
}

/// Sets one field of one group, if the group is still at that place.
async fn scale_group(
    connection: &Connection,
    job: &Job,
    index: usize,
    number: u32,
) -> Result<(), Problem> {
    let place = format!("/spec/workerGroups/{index}");
    let group_now = &job.spec()["workerGroups"][index];
    let mut patch = vec![
        json!({"op": "test", "path": format!("{place}/name"), "value": group_now["name"]}),
        json!({"op": "add", "path": format!("{place}/numberOfWorkers"), "value": number}),
    ];
    if !group_now["number_of_workers"].is_null() {
        patch.push(json!({"op": "remove", "path": format!("{place}/number_of_workers")}));
    }
    let name = job.name();
    let path = format!(
        "/apis/{}/namespaces/{}/daskjobs/{name}?fieldManager={FIELD_MANAGER}",
        crd::api_version(),
        connection.namespace
    );
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json-patch+json")
        .body(Value::Array(patch).to_string().into_bytes())
        .expect("names of jobs and namespaces are parts of a path");
    let answer: Result<DynamicObject, kube::Error> = connection.client.request(request).await;
    answer
        .map(|_| ())
        .map_err(|error| connection.call("patch", name).problem(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;

    fn way_of(spec: Value, group: &str) -> Result<Write, Problem> {
        way(&job(spec, json!({})), group, 4)
    }

    #[test]
    fn the_field_that_the_manifest_has_is_written() {
        assert_eq!(way_of(json!({}), "default").unwrap(), Write::Scale);
        assert_eq!(
            way_of(json!({"workers": {"number_of_workers": 2}}), "default").unwrap(),
            Write::OtherSpelling
        );
        let groups =
            json!({"workerGroups": [{"name": "a"}, {"name": "gpu", "numberOfWorkers": 4}]});
        assert_eq!(way_of(groups.clone(), "a").unwrap(), Write::Group(0));
        assert_eq!(way_of(groups, "gpu").unwrap(), Write::Nothing);
    }

    #[test]
    fn workers_that_adapt_are_not_scaled() {
        let problem = way_of(json!({"workers": {"maximum": 8}}), "default").unwrap_err();
        assert!(problem.remedy.contains("kubectl edit dj etl -n team"));
    }

    #[test]
    fn a_group_that_is_not_there_is_told_with_those_that_are() {
        let groups = || json!({"workerGroups": [{"name": "gpus"}]});
        assert_eq!(
            way_of(groups(), "gpu").unwrap_err().remedy,
            "did you mean gpus?"
        );
        assert_eq!(
            way_of(groups(), "zzzz").unwrap_err().remedy,
            "the groups are default, gpus"
        );
    }

    #[test]
    fn a_number_of_workers_is_from_one_to_ten_thousand() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            read_arguments(&words).map(|(group, number)| (group.to_owned(), number))
        };
        assert_eq!(read(&["3"]).unwrap(), ("default".to_owned(), 3));
        assert_eq!(read(&["gpu", "3"]).unwrap(), ("gpu".to_owned(), 3));
        for wrong in ["0", "10001", "many", "-1"] {
            assert!(read(&[wrong]).is_err());
        }
    }
}
