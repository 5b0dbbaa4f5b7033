//! When a failed request is tried again.

use super::{findings::Findings, place::Place};
use crate::{
    config::{
        Located,
        diagnostic::did_you_mean,
        raw::{RawHedge, RawRetry, RawRetryBudget},
    },
    forward::{HedgeAfter, HedgePolicy, RetryBudgetLimits, RetryOn, RetryPolicy},
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
    let budget = lower_budget(raw.budget.as_ref(), problems);
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

/// A second attempt beside a slow one. `route` is its name.
pub(super) fn lower_hedge(
    raw: &RawHedge,
    route: &Located<String>,
    problems: &mut Findings<'_>,
) -> Option<HedgePolicy> {
    let budget = lower_budget(raw.budget.as_ref(), problems);
    let after = match (raw.delay, &raw.percentile) {
        (Some(delay), None) => HedgeAfter::Fixed(delay.get()),
        (None, Some(percentile)) => {
            let share = percentile.value / 100.0;
            if !(share > 0.0 && share < 1.0) {
                let problem = format!(
                    "expected a percentage between 0 and 100, found {}",
                    percentile.value
                );
                problems.push(percentile.error(problem));
                return None;
            }
            HedgeAfter::Percentile {
                share,
                least: raw.min_delay.get(),
            }
        }
        _ if problems.lost(route, &["hedge"]) => return None,
        _ => {
            let problem = "a hedge has either a `delay` or a `percentile`";
            let problem = Place::of(route).error(&["hedge"], problem);
            problems.push(problem.hint("write hedge: { percentile: 95 }"));
            return None;
        }
    };
    let mut policy = HedgePolicy::new(after);
    policy.budget = budget;
    Some(policy)
}

fn lower_budget(raw: Option<&RawRetryBudget>, problems: &mut Findings<'_>) -> RetryBudgetLimits {
    let Some(raw) = raw else {
        return RetryBudgetLimits::default();
    };
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
