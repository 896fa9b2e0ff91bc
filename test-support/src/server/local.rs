//! Programs and ports of this machine.

use std::collections::HashSet;
use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Below the ports that Linux gives to outgoing connections (32768 and up), so that none of those
/// sits on a server's port while that is being restarted.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// How long a server that is starting may take over one small answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The path of `program`: from `PATH`, else from where `scripts/servers` unpacks it.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/servers/bin");
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .chain([PathBuf::from(unpacked)])
        .map(|dir| dir.join(program))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

pub(super) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Ports that are free for TCP and UDP right now and were not handed out before by this process.
pub(crate) fn spare_ports(count: usize) -> io::Result<Vec<u16>> {
    static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    let mut ports = Vec::with_capacity(count);
    for _ in 0..PORTS.len() {
        if ports.len() == count {
            return Ok(ports);
        }
        // Not seeded: test processes that run at once must not choose alike.
        let port = fastrand::u16(PORTS);
        let free =
            TcpListener::bind(address(port)).is_ok() && UdpSocket::bind(address(port)).is_ok();
        if free && taken.insert(port) {
            ports.push(port);
        }
    }
    Err(io::Error::other("no spare ports on the loopback interface"))
}

/// Sends `request` and reads until the peer closes or `enough` of the answer is there.
pub(super) fn ask(
    address: SocketAddr,
    request: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !enough(&answer) {
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(answer)
}

/// Blocks the thread, so only for threads that are there to block.
pub(super) fn sleep(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "waits for another process, off the runtime")]
    std::thread::sleep(time);
}
