//! When a failed request is tried again.

use super::findings::Findings;
use crate::{
    config::{
        diagnostic::did_you_mean,
        raw::{RawRetry, RawRetryBudget},
    },
    forward::{RetryBudgetLimits, RetryOn, RetryPolicy},
};

/// More would be no budget any more.
const MOST_PERCENT: u32 = 1000;

/// `None` when there are no retries.
pub(super) fn lower(raw: &RawRetry, problems: &mut Findings<'_>) -> Option<RetryPolicy> {
    let mut on = Vec::with_capacity(raw.on.len());
    for condition in &raw.on {
        let text = condition.as_str();
        let Some(known) = RetryOn::parse(text) else {
            let problem = condition.error(format!("no retry condition is called `{text}`"));
            problems.push(match did_you_mean(text, RetryOn::NAMES) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(format!(
                    "conditions: {}, or a status such as 503",
                    RetryOn::NAMES.join(", ")
                )),
            });
            continue;
        };
        if !on.contains(&known) {
            on.push(known);
        }
    }
    let budget = raw
        .budget
        .as_ref()
        .map_or_else(RetryBudgetLimits::default, |budget| {
            lower_budget(budget, problems)
        });
    let backoff = raw.backoff.clone().unwrap_or_default();
    (raw.attempts > 0 && !on.is_empty()).then_some(RetryPolicy {
        attempts: raw.attempts,
        on,
        non_idempotent: raw.non_idempotent,
        backoff: backoff.base.get(),
        max_backoff: backoff.max.get(),
        retry_after: backoff.retry_after.map(|most| most.get()),
        buffer: raw.buffer.as_len(),
        budget,
    })
}

fn lower_budget(raw: &RawRetryBudget, problems: &mut Findings<'_>) -> RetryBudgetLimits {
    let percent = raw.percent.value;
    if percent > MOST_PERCENT {
        problems.push(raw.percent.error(format!(
            "expected at most {MOST_PERCENT} percent, found {percent}"
        )));
    }
    RetryBudgetLimits {
        percent,
        min_per_second: raw.min_per_second,
    }
}
