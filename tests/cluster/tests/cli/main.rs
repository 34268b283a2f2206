//! `daskjob` on a cluster, as a person uses it: the program that is in the images, with a kubeconfig, in a namespace with
//! an operator of its own. Jobs are real, on the node.

mod dashboard;
mod jobs;
mod kubeconfigs;
mod plan;
mod scene;
mod trouble;
