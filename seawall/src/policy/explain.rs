//! A policy in words.

use std::{fmt, time::Duration};

use super::{ConnectionPool, OnFailure, Policy, Retries, RetryBudget, Route, Scope, Share};

/// A policy in words: what happens to a call, and what each route changes. Made by
/// [`Policy::explain`].
#[derive(Clone, Copy, Debug)]
pub struct Explanation<'a>(&'a Policy);

impl Policy {
    /// Says in words what the policy does, for people.
    ///
    /// ```
    /// let policy = seawall::policy::Policy::from_yaml("timeout: 2s")?;
    /// assert!(policy.explain().to_string().contains("A call takes at most 2s"));
    /// # Ok::<(), seawall::policy::PolicyError>(())
    /// ```
    pub fn explain(&self) -> Explanation<'_> {
        Explanation(self)
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = self.0;
        writeln!(f, "Every call")?;
        calls(f, policy)?;
        ways(f, &policy.split)?;
        writeln!(f, "Every endpoint")?;
        endpoints(f, policy)?;
        for (at, route) in policy.routes.iter().enumerate() {
            writeln!(f, "{}", Heading(route, at))?;
            match policy.of_route(at) {
                Ok(effective) => calls(f, &effective)?,
                Err(error) => writeln!(f, "  {error}")?,
            }
            match (&route.service, &route.subset) {
                (Some(service), _) => writeln!(f, "  Goes to the service {service}.")?,
                (None, Some(subset)) => writeln!(f, "  Goes to the subset {subset}.")?,
                (None, None) => ways(f, &route.split)?,
            }
        }
        Ok(())
    }
}

struct Heading<'a>(&'a Route, usize);

impl fmt::Display for Heading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.0.title(self.1))?;
        for (at, one) in self.0.matches.iter().enumerate() {
            let or = if at == 0 { "" } else { " or" };
            let method = one.method.as_deref().unwrap_or("any method");
            write!(f, "{or} {method} {}", one.path)?;
        }
        Ok(())
    }
}

fn calls(f: &mut fmt::Formatter<'_>, policy: &Policy) -> fmt::Result {
    match policy.timeout {
        Some(timeout) => {
            writeln!(f, "  A call takes at most {}, with all its retries.", shown(timeout))?;
        }
        None => writeln!(f, "  A call takes as long as it takes: there is no time-out.")?,
    }
    if let Some(header) = &policy.deadline_header {
        writeln!(f, "  HTTP servers are told in {header} how many milliseconds are left.")?;
    }
    retries(f, &policy.retries)?;
    match &policy.hedge {
        None => writeln!(f, "  It is not hedged.")?,
        Some(hedge) => {
            write!(f, "  A second attempt is sent ")?;
            match (hedge.delay, hedge.percentile) {
                (Some(delay), _) => write!(f, "after {}", shown(delay))?,
                (None, Some(percentile)) => write!(f, "after the {percentile} % latency")?,
                (None, None) => write!(f, "after the 99 % latency")?,
            }
            writeln!(f, ", of at most {}.", budgeted(&hedge.budget))?;
        }
    }
    fallback(f, policy)?;
    if policy.idempotent.is_empty() {
        writeln!(f, "  No gRPC method may be done twice; HTTP methods as RFC 9110 says.")?;
    } else {
        writeln!(f, "  These may be done twice: {}.", policy.idempotent.join(", "))?;
    }
    match &policy.rate_limit {
        None => writeln!(f, "  Calls are not limited.")?,
        Some(limit) => {
            let (burst, period) = (limit.burst_of(), shown(limit.period));
            write!(f, "  {} calls pass per {period}, {burst} at once; ", limit.limit)?;
            if limit.wait.is_zero() {
                writeln!(f, "others are refused at once.")?;
            } else {
                writeln!(f, "others wait for up to {} and are refused.", shown(limit.wait))?;
            }
            writeln!(f, "  Of these, calls that may be shed leave {} over.", limit.reserve_of())?;
            if let Some(shared) = &limit.shared {
                let then = match shared.on_failure {
                    OnFailure::Open => "every call passes".to_owned(),
                    OnFailure::Closed => "no call does".to_owned(),
                    OnFailure::Local(percent) => format!("{percent} % of it pass"),
                };
                writeln!(f, "  The limit is shared through Redis; without an answer, {then}.")?;
            }
        }
    }
    if let Some(throttle) = &policy.throttle {
        let settings = throttle.settings_in_words();
        let settings = if settings.is_empty() { "by the defaults" } else { &settings };
        writeln!(f, "  While servers refuse calls, a part of them is not sent: {settings}.")?;
    }
    writeln!(f, "  Its priority is {}, unless it says another.", policy.priority)
}

fn retries(f: &mut fmt::Formatter<'_>, retries: &Retries) -> fmt::Result {
    if retries.attempts == 0 {
        writeln!(f, "  Nothing is tried again.")?;
    } else {
        let codes = retries.retriable_status_codes.iter().map(u16::to_string);
        let words = retries.retry_on.iter().map(|on| on.word().to_owned());
        let words: Vec<_> = words.chain(codes).collect();
        let tries = retries.attempts.saturating_add(1);
        writeln!(f, "  It is tried up to {tries} times, after: {}.", words.join(", "))?;
        let (base, max) = (shown(retries.backoff.base), shown(retries.backoff.max));
        writeln!(
            f,
            "  Before a retry it waits for up to {base}, twice that each time up to {max}."
        )?;
    }
    if retries.attempts > 0 {
        writeln!(f, "  Retries are at most {}.", budgeted(&retries.budget))?;
    }
    match retries.per_try_timeout {
        Some(limit) => writeln!(f, "  One try takes at most {}.", shown(limit)),
        None => Ok(()),
    }
}

fn fallback(f: &mut fmt::Formatter<'_>, policy: &Policy) -> fmt::Result {
    let Some(fallback) = &policy.fallback else {
        return writeln!(f, "  Where it has failed for good, the caller sees that.");
    };
    write!(f, "  Where it has failed for good,")?;
    if let Some(service) = &fallback.service {
        let (name, timeout) = (&service.name, shown(service.timeout));
        write!(f, " the service {name} is asked for up to {timeout}, then")?;
    }
    if let Some(stale) = &fallback.stale {
        let (age, bytes) = (shown(stale.max_age), stale.max_bytes);
        write!(f, " the last good response is given, up to {age} old, {bytes} bytes in all, then")?;
    }
    match &fallback.value {
        Some(_) => writeln!(f, " a fixed value."),
        None => writeln!(f, " the caller sees that."),
    }
}

fn connections(f: &mut fmt::Formatter<'_>, pool: &ConnectionPool) -> fmt::Result {
    write!(f, "  It has")?;
    if let Some(connections) = pool.max_connections {
        write!(f, " up to {connections} channels (HTTP: calls under way),")?;
    }
    if let Some(requests) = pool.max_requests {
        write!(f, " up to {requests} calls under way,")?;
    }
    if pool.max_connections.is_some() || pool.max_requests.is_some() {
        write!(f, " {} that wait,", pool.pending())?;
    }
    match pool.max_requests_per_connection {
        Some(requests) => {
            writeln!(f, " and {requests} calls on a channel, which is then replaced.")
        }
        None => writeln!(f, " and any number of calls on a channel."),
    }
}

fn budgeted(budget: &RetryBudget) -> String {
    format!("{} % of the calls and {} a second", budget.percent, budget.min_per_second)
}

fn endpoints(f: &mut fmt::Formatter<'_>, policy: &Policy) -> fmt::Result {
    let breaker = &policy.circuit_breaker;
    let whose = match breaker.scope_of() {
        Scope::Endpoint => "has a breaker of its own",
        Scope::Method => "shares a breaker for each method",
        Scope::Service => "shares one breaker",
    };
    match breaker.settings_in_words() {
        Ok(settings) => writeln!(f, "  It {whose}: {settings}.")?,
        Err(error) => writeln!(f, "  {error}")?,
    }
    if let Some(out) = &policy.outlier_detection {
        let time = shown(out.base_ejection_time);
        let (errors, percent) = (out.consecutive_errors, out.max_ejection_percent);
        writeln!(
            f,
            "  It is out for {time} after {errors} errors in a row, longer each time, while at most \
             {percent} % are out."
        )?;
    }
    if let Some(pool) = &policy.connection_pool {
        connections(f, pool)?;
    }
    let balance = policy.load_balance.settings_in_words();
    if balance.is_empty() {
        writeln!(f, "  The less loaded of two takes a call.")?;
    } else {
        writeln!(f, "  Balancing: {balance}.")?;
    }
    for subset in &policy.subsets {
        let which = match (&subset.tag, subset.labels.iter().next()) {
            (Some(tag), _) => format!("those tagged {tag}"),
            (None, Some((key, value))) => format!("those with {key} {value}"),
            (None, None) => "the rest".to_owned(),
        };
        writeln!(f, "  The subset {} is {which}.", subset.name)?;
    }
    Ok(())
}

fn ways(f: &mut fmt::Formatter<'_>, split: &[Share]) -> fmt::Result {
    let all = split.iter().map(|share| u64::from(share.weight)).sum::<u64>().max(1);
    for share in split {
        let percent = u64::from(share.weight) * 100 / all;
        match (&share.service, &share.subset) {
            (Some(service), _) => writeln!(f, "  {percent} % go to the service {service}.")?,
            (None, Some(subset)) => writeln!(f, "  {percent} % go to the subset {subset}.")?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn shown(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}
