//! What is told of many latencies.

use serde_json::{Value, json};

/// Latencies in nanoseconds and failures.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    latencies: Vec<u64>,
    bad: u64,
    first_failure: Option<String>,
}

impl Summary {
    /// A reply that was as it should be.
    pub(crate) fn good(&mut self, latency: u64) {
        self.latencies.push(latency);
    }

    /// A reply that was not, or that never came.
    pub(crate) fn bad(&mut self, failure: &dyn std::error::Error) {
        self.bad += 1;
        self.first_failure.get_or_insert_with(|| {
            let mut text = failure.to_string();
            let mut cause = failure.source();
            while let Some(inner) = cause {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                cause = inner.source();
            }
            text
        });
    }

    /// The fields of the result that all loads share; latencies in microseconds.
    pub(crate) fn tell(&mut self) -> Value {
        self.latencies.sort_unstable();
        json!({
            "requests": self.latencies.len(),
            "bad": self.bad,
            "first_failure": self.first_failure,
            "p50_us": microseconds(percentile(&self.latencies, 50.0)),
            "p90_us": microseconds(percentile(&self.latencies, 90.0)),
            "p99_us": microseconds(percentile(&self.latencies, 99.0)),
            "p999_us": microseconds(percentile(&self.latencies, 99.9)),
            "max_us": microseconds(self.latencies.last().copied().unwrap_or(0)),
        })
    }
}

/// The smallest of `sorted` that at least `percent` of them do not exceed; 0 if there are none.
pub(crate) fn percentile(sorted: &[u64], percent: f64) -> u64 {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Microseconds with one decimal.
pub(crate) fn microseconds(nanoseconds: u64) -> f64 {
    (nanoseconds as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let latencies: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&latencies, 50.0), 100);
        assert_eq!(percentile(&latencies, 99.0), 198);
        assert_eq!(percentile(&latencies, 99.9), 200);
        assert_eq!(percentile(&[7], 50.0), 7);
        assert_eq!(percentile(&[], 99.0), 0);
    }

    #[test]
    fn the_first_failure_is_told_with_its_cause() {
        let mut summary = Summary::default();
        summary.bad(&std::io::Error::other("one"));
        summary.bad(&std::io::Error::other("two"));
        summary.good(1_250);
        let told = summary.tell();
        assert_eq!(
            (&told["bad"], &told["first_failure"], &told["p99_us"]),
            (&json!(2), &json!("one"), &json!(1.3))
        );
    }
}
