//! `Session`.

use super::RpcServices;
use super::dispatch::{Replied, request};
use super::read::{answer, check_datacenter, reply};
use crate::endpoints::EndpointError;
use crate::endpoints::blocking;
use crate::endpoints::session::{self, All, Info, OfNode};
use crate::rpc::codec::to_bytes;
use crate::rpc::shapes::{NodeRequest, Query, SessionApply, SessionRequest, Sessions};

pub async fn apply(services: &RpcServices, body: &[u8]) -> Replied {
    let SessionApply { datacenter, op, session, .. } = request(body)?;
    check_datacenter(services, &datacenter)?;
    let (endpoints, datacenter) = (&services.endpoints, Some(datacenter.as_str()));
    match op.as_str() {
        "create" => {
            let id = session::create_as_asked(endpoints, datacenter, session.into()).await?;
            Ok(to_bytes(&&*id))
        }
        "destroy" if session.id.is_empty() => {
            Err(EndpointError::Refused("Must provide ID".to_owned()).into())
        }
        "destroy" => {
            session::destroy(endpoints, datacenter, &session.id).await?;
            Ok(to_bytes(&""))
        }
        other => Err(EndpointError::Refused(format!("Invalid session operation '{other}'")).into()),
    }
}

pub async fn get(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: SessionRequest, _| Info { id: request.id().to_lowercase().into() },
        |_, sessions| Ok(Sessions { sessions }),
    )
    .await
}

pub async fn list(services: &RpcServices, body: &[u8]) -> Replied {
    answer(services, body, |_, _: SessionRequest, _| All, |_, sessions| Ok(Sessions { sessions })).await
}

pub async fn of_node(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: NodeRequest, _| OfNode::new(&request.node),
        |_, sessions| Ok(Sessions { sessions }),
    )
    .await
}

pub async fn renew(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { common, own } = request::<Query<SessionRequest>>(body)?;
    check_datacenter(services, &own.datacenter)?;
    let (endpoints, options) = (&services.endpoints, common.to_options(&own.datacenter));
    let session = session::renew(endpoints, &options, own.id()).await?;
    let index = endpoints.state.view().indexes.sessions;
    let meta = blocking::meta(endpoints, &options, index);
    Ok(reply(&meta, Sessions { sessions: session.into_iter().collect() }))
}
