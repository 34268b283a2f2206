//! What an operator costs while there is nothing to do.

use std::time::Duration;

use anyhow::Result;

use super::contender::Contender;
use super::report::{Report, Unit};
use crate::args::OperatorArgs;
use crate::usage;

pub async fn measure(
    contenders: &[Contender<'_>],
    args: &OperatorArgs,
    report: &mut Report,
) -> Result<()> {
    let seconds = if args.quick { 5 } else { 30 };
    eprintln!("idle for {seconds} s");
    let before: Vec<f64> = contenders
        .iter()
        .map(|it| usage::cpu(it.pid()).cpu_seconds)
        .collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    for (contender, before) in contenders.iter().zip(before) {
        let used = usage::cpu(contender.pid()).cpu_seconds - before;
        let share = 100.0 * used / Duration::from_secs(seconds).as_secs_f64();
        report.add(
            contender.product,
            "idle: memory",
            Unit::Mebibytes,
            vec![mebibytes(contender)],
        );
        report.add(
            contender.product,
            "idle: CPU",
            Unit::PercentOfCore,
            vec![share],
        );
    }
    Ok(())
}

/// Resident and not shared with others, of the operator's process tree.
pub fn mebibytes(contender: &Contender<'_>) -> f64 {
    usage::proportional_bytes(contender.pid()) as f64 / f64::from(1 << 20)
}
