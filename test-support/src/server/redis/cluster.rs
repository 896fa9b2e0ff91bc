//! Joins servers into a cluster, as `redis-cli --cluster create` does, which not every system has.

use std::net::SocketAddr;

use super::{command, until};

/// A cluster has as many slots, whatever its size.
const SLOTS: usize = 16_384;

/// Where a server of a cluster listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    pub(super) bus: u16,
}

impl Member {
    fn ask(self, words: &str) -> String {
        command(self.address, words).unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    fn tell(self, words: &str) {
        let answer = self.ask(words);
        assert!(answer.starts_with("+OK"), "{words}: {answer}");
    }
}

/// Blocks until every one of `members` serves all slots; the first `primaries` of them hold these,
/// the others replicate one of those each.
pub(super) fn join(members: &[Member], primaries: usize) {
    for (at, member) in members.iter().enumerate() {
        // Two nodes of one epoch would have to find out which of them is right about a slot.
        member.tell(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1));
        if at < primaries {
            let (first, end) = (at * SLOTS / primaries, (at + 1) * SLOTS / primaries);
            member.tell(&format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1));
        }
        if at > 0 {
            let (first, port) = (members[0], member.address.port());
            first.tell(&format!("CLUSTER MEET 127.0.0.1 {port} {}", member.bus));
        }
    }
    let known = format!("cluster_known_nodes:{}\r", members.len());
    for member in members {
        until("every node knows all others", || Ok(member.ask("CLUSTER INFO").contains(&known)));
    }
    for (at, replica) in members.iter().skip(primaries).enumerate() {
        let answer = members[at].ask("CLUSTER MYID");
        let id = answer.lines().nth(1).unwrap_or_else(|| panic!("no id: {answer}"));
        until("a replica knows its primary", || {
            Ok(replica.ask(&format!("CLUSTER REPLICATE {id}")).starts_with("+OK"))
        });
    }
    for (at, member) in members.iter().enumerate() {
        until("every node serves", || {
            let serves = member.ask("CLUSTER INFO").contains("cluster_state:ok");
            let link =
                at < primaries || member.ask("INFO replication").contains("master_link_status:up");
            Ok(serves && link)
        });
    }
}
