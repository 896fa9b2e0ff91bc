//! What a test does to any server that is a process.

/// Gives `$server`, which has a field `server: Arc<Server<_>>`, what kills, hangs and restarts it.
macro_rules! controls {
    ($server:ident, $what:literal) => {
        impl $server {
            /// Kills it (SIGKILL): connections are closed and new ones refused. Its data stays.
            pub fn kill(&self) {
                self.server.kill();
            }

            /// Makes it hang (SIGSTOP): connections stay, new ones are accepted, nothing is
            /// answered.
            ///
            /// # Panics
            ///
            /// When it does not run.
            pub fn pause(&self) {
                self.server.pause();
            }

            #[doc = concat!("Lets a paused ", $what, " go on (SIGCONT).")]
            ///
            /// # Panics
            ///
            /// When it does not run.
            pub fn resume(&self) {
                self.server.resume();
            }

            /// Kills it if it runs, starts it again on the same ports, and waits until it answers.
            /// With [`Data::Lose`] it has forgotten everything it was told.
            ///
            /// # Panics
            ///
            #[doc = concat!("As [`", stringify!($server), "::start`].")]
            pub async fn restart(&self, data: Data) {
                let server = Arc::clone(&self.server);
                let restarted = blocking(move || server.restart(data)).await;
                restarted.unwrap_or_else(|error| panic!("{error}"));
            }

            /// The id of its process, or `None` after a kill.
            pub fn process_id(&self) -> Option<u32> {
                self.server.process_id()
            }

            /// The file with what it prints.
            pub fn log_path(&self) -> std::path::PathBuf {
                self.server.log_path()
            }
        }
    };
}

pub(super) use controls;
