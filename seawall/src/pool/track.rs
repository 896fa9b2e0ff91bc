//! What a call holds ends with its body.

use seawall_core::{Error, Track};

use super::Held;

/// Has a tracker hold what the pool gave a call, too, so that one body serves both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithHeld<T>(pub(crate) T);

impl<R, E, G, T> Track<(R, Held), Error<E>, G> for WithHeld<T>
where
    T: Track<R, Error<E>, (G, Held)>,
{
    type Response = T::Response;

    fn track(
        &self,
        result: Result<(R, Held), Error<E>>,
        guard: G,
    ) -> Result<T::Response, Error<E>> {
        match result {
            Ok((response, held)) => self.0.track(Ok(response), (guard, held)),
            Err(error) => self.0.track(Err(error), (guard, Held::nothing())),
        }
    }
}
