//! The configuration of autopilot: read, and set whole.

use std::sync::Arc;

use crate::endpoints::decode::{Decoded, Json, Shape, Unknown};
use crate::endpoints::query::{self, QueryOptions};
use crate::endpoints::{EndpointError, Endpoints, blocking};
use crate::state::record::AutopilotConfig;
use crate::state::{Command, Outcome};

const CONFIGURATION: Shape = Shape {
    name: "api.AutopilotConfiguration",
    fields: &[
        "CleanupDeadServers",
        "LastContactThreshold",
        "MaxTrailingLogs",
        "MinQuorum",
        "ServerStabilizationTime",
        "RedundancyZoneTag",
        "DisableUpgradeMigration",
        "UpgradeVersionTag",
        "CreateIndex",
        "ModifyIndex",
    ],
    unknown: Unknown::Refuse,
};

/// Decodes a configuration; what is not given is off, empty or zero, as in Consul. Indexes are passed over.
///
/// # Errors
/// [`crate::endpoints::decode::DecodeError`].
pub fn decode(json: Json) -> Decoded<AutopilotConfig> {
    let mut config = AutopilotConfig::default();
    CONFIGURATION.decode(json, |field, value| {
        match field {
            "CleanupDeadServers" => config.cleanup_dead_servers = value.bool()?,
            "LastContactThreshold" => config.last_contact_threshold = value.duration()?,
            "MaxTrailingLogs" => config.max_trailing_logs = value.uint()?,
            "MinQuorum" => config.min_quorum = value.uint()?,
            "ServerStabilizationTime" => config.server_stabilization_time = value.duration()?,
            "RedundancyZoneTag" => config.redundancy_zone_tag = value.string()?,
            "DisableUpgradeMigration" => config.disable_upgrade_migration = value.bool()?,
            "UpgradeVersionTag" => config.upgrade_version_tag = value.string()?,
            _ => {
                value.uint()?;
            }
        }
        Ok(())
    })?;
    Ok(config)
}

/// The configuration in effect. It cannot be waited for.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::NoLeader`], and [`EndpointError::Refused`] while no leader has
/// written one yet.
pub async fn configuration(
    endpoints: &Endpoints,
    options: &QueryOptions,
) -> Result<Arc<AutopilotConfig>, EndpointError> {
    if let Some(servers) = &endpoints.far {
        return servers.autopilot(options).await.map(Arc::new);
    }
    options.check_datacenter(endpoints)?;
    if let Some(servers) = &endpoints.far {
        return servers.autopilot(options).await.map(Arc::new);
    }
    blocking::refresh(endpoints, options).await?;
    let missing = || EndpointError::Refused("autopilot config not initialized yet".into());
    endpoints.state.view().autopilot.clone().ok_or_else(missing)
}

/// Sets the configuration; false if `cas` is given and is not the ModifyIndex of the one in effect.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], or what becomes of the write.
pub async fn set_configuration(
    endpoints: &Endpoints,
    datacenter: Option<&str>,
    config: AutopilotConfig,
    cas: Option<u64>,
) -> Result<bool, EndpointError> {
    query::check_datacenter(endpoints, datacenter)?;
    let command = Command::Autopilot { config: Box::new(config), cas };
    match endpoints.proposer.propose(command).await?.outcome {
        Outcome::Bool(done) => Ok(done),
        other => Err(EndpointError::Internal(format!("unexpected outcome {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::Indexes;

    fn parse(body: &str) -> Result<AutopilotConfig, String> {
        Json::parse(body.as_bytes()).and_then(decode).map_err(|error| error.to_string())
    }

    #[test]
    fn configurations_are_read_as_go_reads_them() {
        let body = r#"{"cleanupdeadservers":true,"LastContactThreshold":"500ms","MaxTrailingLogs":300,
            "ServerStabilizationTime":20000000000,"MinQuorum":2,"ModifyIndex":7}"#;
        let want = AutopilotConfig {
            cleanup_dead_servers: true,
            last_contact_threshold: 500_000_000,
            max_trailing_logs: 300,
            min_quorum: 2,
            server_stabilization_time: 20_000_000_000,
            indexes: Indexes::default(),
            ..AutopilotConfig::default()
        };
        assert_eq!(parse(body), Ok(want));
        assert_eq!(parse("{}"), Ok(AutopilotConfig::default()));
        for wrong in [
            "{",
            r#"{"LastContactThreshold":"soon"}"#,
            r#"{"cleanup_dead_servers":true}"#,
            r#"{"MaxTrailingLogs":-1}"#,
            r#"{"MinQuorum":"2"}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
