//! Lines to the machine's syslog, over its socket, in the traditional format (RFC 3164).

use std::os::unix::net::UnixDatagram;

use crate::settings::LogLevel;

use super::Sink;
use super::format::Event;

const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// A connection to syslog.
pub(super) struct Syslog {
    socket: UnixDatagram,
    facility: u32,
}

impl Syslog {
    /// Connects under a facility's name, such as `LOCAL0`.
    pub(super) fn connect(facility: &str) -> Result<Self, String> {
        let facility =
            facility_number(facility).ok_or_else(|| format!("invalid syslog facility: {facility}"))?;
        let socket = UnixDatagram::unbound().map_err(|error| error.to_string())?;
        let mut last = String::new();
        for path in SOCKETS {
            match socket.connect(path) {
                Ok(()) => {
                    // A stuck syslog must not stop the agent.
                    socket.set_nonblocking(true).map_err(|error| error.to_string())?;
                    return Ok(Self { socket, facility });
                }
                Err(error) => last = format!("{path}: {error}"),
            }
        }
        Err(last)
    }
}

impl Sink for Syslog {
    fn write(&mut self, event: &Event) {
        let severity = match event.level {
            LogLevel::Error => 3,
            LogLevel::Warn => 4,
            LogLevel::Info => 6,
            LogLevel::Debug | LogLevel::Trace => 7,
        };
        let priority = self.facility * 8 + severity;
        let text = event.text();
        // Syslog adds the time itself.
        let body = text.split_once(' ').map_or(text.as_str(), |(_, body)| body);
        let packet = format!("<{priority}>consul[{}]: {body}", std::process::id());
        let _ = self.socket.send(packet.as_bytes());
    }
}

fn facility_number(name: &str) -> Option<u32> {
    Some(match name.to_ascii_uppercase().as_str() {
        "KERN" => 0,
        "USER" => 1,
        "MAIL" => 2,
        "DAEMON" => 3,
        "AUTH" => 4,
        "SYSLOG" => 5,
        "LPR" => 6,
        "NEWS" => 7,
        "UUCP" => 8,
        "CRON" => 9,
        "AUTHPRIV" => 10,
        "FTP" => 11,
        "LOCAL0" => 16,
        "LOCAL1" => 17,
        "LOCAL2" => 18,
        "LOCAL3" => 19,
        "LOCAL4" => 20,
        "LOCAL5" => 21,
        "LOCAL6" => 22,
        "LOCAL7" => 23,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities() {
        assert_eq!(facility_number("local0"), Some(16));
        assert_eq!(facility_number("DAEMON"), Some(3));
        assert_eq!(facility_number("x"), None);
        assert!(Syslog::connect("x").is_err_and(|error| error.contains("facility")));
    }
}
