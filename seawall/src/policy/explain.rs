//! A policy in words.

use std::{fmt, time::Duration};

use super::{OnFailure, Policy, Retries, Route, Scope, Share};

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
    retries(f, &policy.retries)?;
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
                    OnFailure::Open => "every call passes",
                    OnFailure::Closed => "no call does",
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
        let words: Vec<_> = retries.retry_on.iter().map(|on| on.word()).collect();
        let tries = retries.attempts.saturating_add(1);
        writeln!(f, "  It is tried up to {tries} times, after: {}.", words.join(", "))?;
        let (base, max) = (shown(retries.backoff.base), shown(retries.backoff.max));
        writeln!(
            f,
            "  Before a retry it waits for up to {base}, twice that each time up to {max}."
        )?;
    }
    match retries.per_try_timeout {
        Some(limit) => writeln!(f, "  One try takes at most {}.", shown(limit)),
        None => Ok(()),
    }
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
