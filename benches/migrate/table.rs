//! Rounds, and the table that they make.

use std::time::Duration;

use bedplate::Error;

/// One run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Measured {
    pub(crate) took: Duration,
    /// The most memory that the process had, in kB.
    pub(crate) peak: Option<u64>,
    /// The longest batch.
    pub(crate) longest: Option<Duration>,
}

impl From<Duration> for Measured {
    fn from(took: Duration) -> Self {
        Self { took, ..Self::default() }
    }
}

/// Runs all sides in every round and prints a line for each; the first is what the others are compared with.
pub(crate) async fn compare(
    title: &str,
    rounds: usize,
    sides: &[&'static str],
    mut run: impl AsyncFnMut(&'static str) -> Result<Measured, Error>,
) -> Result<(), Error> {
    let mut measured = vec![Vec::with_capacity(rounds); sides.len()];
    for round in 0..=rounds {
        for (side, measured) in sides.iter().zip(&mut measured) {
            let one = run(side).await?;
            // The first one warms up.
            if round > 0 {
                measured.push(one);
            }
        }
    }
    println!("\n{title}; median of {rounds} rounds");
    println!("{:<34} {:>10} {:>8}  {:<16} {:>9} {:>12}", "", "ms", "ratio", "(least, most)", "peak MB", "longest ms");
    for (side, runs) in sides.iter().zip(&measured) {
        let ratios: Vec<_> = runs.iter().zip(&measured[0]).map(|(one, first)| ratio(one, first)).collect();
        let (least, most) = ratios.iter().fold((f64::MAX, f64::MIN), |(l, m), ratio| (l.min(*ratio), m.max(*ratio)));
        let peak = runs.iter().filter_map(|one| one.peak).max();
        let longest = runs.iter().filter_map(|one| one.longest).max();
        println!(
            "{side:<34} {:>10.2} {:>8.2}  {:<16} {:>9} {:>12}",
            median(runs.iter().map(|one| one.took.as_secs_f64() * 1e3).collect()),
            median(ratios),
            format!("({least:.2}, {most:.2})"),
            peak.map(|kb| (kb / 1024).to_string()).unwrap_or_default(),
            longest.map(|longest| longest.as_millis().to_string()).unwrap_or_default(),
        );
    }
    Ok(())
}

fn ratio(one: &Measured, first: &Measured) -> f64 {
    one.took.as_secs_f64() / first.took.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
