//! What may change while a limiter runs.

use seawall_core::ConfigError;

use super::RateLimiter;
use crate::{
    Config, Quota,
    algorithm::{Algorithm, FromQuotas, Share},
};

impl<A: FromQuotas> RateLimiter<A> {
    /// Takes over `config` while calls are running, as [`reconfigure`](Self::reconfigure) does.
    ///
    /// # Errors
    ///
    /// As for [`from_config`](Self::from_config); nothing has changed then.
    pub fn apply(&self, config: &Config) -> Result<(), ConfigError> {
        let algorithm = A::from_quotas(config.quotas())?;
        self.shared.watch.adopt(config);
        self.reconfigure(algorithm);
        Ok(())
    }

    /// Keeps `quota` from now on, as [`reconfigure`](Self::reconfigure) does.
    ///
    /// ```
    /// use seawall_rate_limit::{Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Quota::per_minute(10))?;
    /// assert!(limiter.check_n(7).is_ok());
    /// limiter.set_quota(Quota::per_minute(100))?;
    /// assert_eq!(limiter.snapshot().remaining, 3, "no fresh burst");
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the algorithm cannot keep it; nothing has changed then.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        self.reconfigure(A::from_quotas(&[quota])?);
        Ok(())
    }
}

impl<A: Algorithm> RateLimiter<A> {
    /// Keeps so many cells for calls that are not [sheddable](Self::check_sheddable); 0 unless set.
    /// May change at any time.
    pub fn set_reserve(&self, cells: u32) {
        self.shared.watch.set_reserve(cells);
    }

    /// In shadow mode the limiter decides, counts and tells, but refuses nothing and makes nobody
    /// wait: to see what a quota would do before it does it. What would have been refused takes
    /// nothing, so that the others are judged as if it had been. Off unless set; may change at any
    /// time.
    ///
    /// ```
    /// use seawall_rate_limit::{Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Quota::per_hour(1))?.count_decisions();
    /// limiter.set_shadow(true);
    /// assert!(limiter.check().is_ok());
    /// assert!(limiter.check().is_ok());
    /// let totals = limiter.snapshot().totals.unwrap_or_default();
    /// assert_eq!((totals.allowed, totals.shadow_rejected), (1, 1));
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    pub fn set_shadow(&self, shadow: bool) {
        self.shared.watch.set_shadow(shadow);
    }

    /// Whether it refuses nothing.
    pub fn is_shadow(&self) -> bool {
        self.shared.watch.is_shadow()
    }

    /// Decides as `algorithm` does from now on.
    ///
    /// There is no fresh burst: a bucket keeps what is left of it, as far as the new burst has room
    /// for that, as with `SetLimit` and `SetBurst` of golang's x/time/rate; a window keeps what has
    /// passed in it. Who waits keeps the instant that it waits for, and what it owes.
    ///
    /// # Cost
    ///
    /// Calls meanwhile wait for some dozens of instructions.
    pub fn reconfigure(&self, algorithm: A) {
        let quota = algorithm.quota();
        self.shared.state.adopt(self.now(), algorithm);
        self.shared.watch.reconfigured(quota);
    }
}
