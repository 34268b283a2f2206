//! What cannot be done is told with a remedy.

use crate::scene::without_operator;

#[test]
fn names_that_are_not_there_or_taken_and_missing_rights_are_told_with_a_remedy() {
    without_operator("trouble", async |scene| {
        let manifest = scene.manifest("etl", "print(1)");
        let said = |arguments: &[&str], code: i32| {
            let (ended, answer) = scene.daskjob(arguments);
            assert_eq!(ended, code, "{arguments:?}: {answer:#?}");
            answer.stderr
        };
        assert!(said(&["list"], 0).contains("there is no job in namespace"));
        scene.does(&["submit", &manifest]);
        assert!(said(&["describe", "elt"], 2).contains("did you mean etl?"));
        assert!(said(&["submit", &manifest], 2).contains("choose another name with --name"));
        assert!(
            said(&["submit", &manifest, "--name", "other", "--dry-run"], 0)
                .contains("would take other")
        );
        assert!(said(&["scale", "etl", "gpu", "2"], 2).contains("the groups are default"));
        let forbidden = said(&["list", "--as", "eve"], 70);
        assert!(
            forbidden.contains("you may not list daskjobs in namespace"),
            "{forbidden}"
        );
        assert!(
            forbidden.contains("kubectl auth can-i list daskjobs.daskjob.dev"),
            "{forbidden}"
        );
        let waits = said(&["logs", "etl"], 2);
        assert!(
            waits.contains("has no runner pod") && waits.contains("it has not begun"),
            "{waits}"
        );
        let (described, _) = scene.does(&["describe", "etl"]);
        assert!(
            described.contains("no operator has looked at it yet"),
            "{described}"
        );
    });
}

#[test]
fn a_namespace_that_is_not_there_is_told_from_a_job() {
    without_operator("nowhere", async |scene| {
        let text = "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {name: a, namespace: elsewhere}\nspec: {job: {command: [x]}}\n";
        let manifest = scene.write("elsewhere.yaml", text);
        let (code, answer) = scene.daskjob(&["submit", &manifest]);
        assert_eq!(code, 2);
        assert!(
            answer
                .stderr
                .contains("the manifest says namespace elsewhere, the command line"),
            "{answer:#?}"
        );
    });
}

#[test]
fn each_group_is_scaled_by_the_field_that_its_manifest_has() {
    without_operator("scale", async |scene| {
        let text = "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {name: etl}\nspec:\n  job: {command: [x]}\n  workers: {number_of_workers: 2}\n  \
                    workerGroups: [{name: gpu}, {name: other, number_of_workers: 3}, {name: wide, maximum: 4}]\n";
        let manifest = scene.write("groups.yaml", text);
        scene.does(&["submit", &manifest]);
        scene.does(&["scale", "etl", "5"]);
        scene.does(&["scale", "etl", "gpu", "6"]);
        scene.does(&["scale", "etl", "other", "7"]);
        assert_eq!(
            scene.field("etl", ".spec.workers"),
            "{\"numberOfWorkers\":5}"
        );
        let groups = scene.field("etl", ".spec.workerGroups[*].numberOfWorkers");
        assert_eq!(groups, "6 7");
        let (code, answer) = scene.daskjob(&["scale", "etl", "wide", "3"]);
        assert_eq!(code, 2);
        assert!(
            answer.stderr.contains("group wide adapts to its load"),
            "{answer:#?}"
        );
        // Now the field is the one of the scale subresource.
        scene.does(&["scale", "etl", "8"]);
        assert_eq!(scene.field("etl", ".spec.workers.numberOfWorkers"), "8");
    });
}
