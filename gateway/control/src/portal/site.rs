//! What the pages tell about the deployment: read from the gateway document, compiled as nodes compile it, kept until the document changes.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    change::KeyState,
    compile::compile,
    document::{ByDoc, Document, PlanLimitDoc, TenantDoc},
    portal::{KeysDoc, PortalDoc, SignUpDoc},
    problem::{Denial, ProblemKind},
    structure::Structure,
};
use store::revision::StructureLoad;

use super::catalogue::{self, Api};
use crate::{
    admin::{read, store_refusal, unexpected},
    refusal::Refusal,
    state::ControlState,
};

/// What a portal without a name is called.
const TITLE: &str = "Developer portal";

/// One deployment's portal.
#[derive(Debug)]
pub(super) struct Site {
    /// Whose portal it is.
    pub(super) tenant: String,
    /// What it is called.
    pub(super) title: String,
    /// What the document says about it.
    pub(super) portal: PortalDoc,
    /// APIs that developers see.
    pub(super) apis: Vec<Api>,
    /// Which routes charge which limit of plans.
    pub(super) charged: Vec<Charged>,
    /// Limits of plans.
    pub(super) plans: BTreeMap<String, BTreeMap<String, PlanLimitDoc>>,
}

impl Site {
    /// Whether somebody can sign up.
    pub(super) const fn takes_sign_ups(&self) -> bool {
        !matches!(self.portal.sign_up, SignUpDoc::Closed)
    }

    /// What a key is at first that a developer asks for, for pages to say; see [`first_state`].
    pub(super) const fn first_state(&self) -> KeyState {
        at_first(&self.portal)
    }

    /// One API.
    pub(super) fn api(&self, name: &str) -> Option<&Api> {
        self.apis.iter().find(|api| api.name == name)
    }
}

/// A limit of plans that routes charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Charged {
    /// What plans call it.
    pub(super) limit: String,
    /// Whose requests are counted together.
    pub(super) by: ByDoc,
    /// On these routes.
    pub(super) routes: Vec<String>,
}

/// Routes that name the same limit and count in the same way share the count.
fn charged(document: &Document) -> Vec<Charged> {
    let mut all: Vec<Charged> = Vec::new();
    for route in &document.routes {
        for limit in &route.limits {
            let Some(name) = limit.from.as_deref().and_then(|from| from.strip_prefix("plan.")) else { continue };
            match all.iter_mut().find(|charged| charged.limit == name && charged.by == limit.by) {
                Some(charged) => charged.routes.push(route.name.clone()),
                None => all.push(Charged { limit: name.to_owned(), by: limit.by, routes: vec![route.name.clone()] }),
            }
        }
    }
    all
}

/// The portal, as this node's document has it.
pub(super) async fn site(state: &ControlState) -> Result<Arc<Site>, Refusal> {
    let facts = state.status().node();
    let at = (facts.structural_epoch, facts.structural_revision);
    // One at a time: the document is large, and whoever waits here finds what the one before has read.
    let mut kept = state.portal().site.lock().await;
    if let Some((_, site)) = kept.as_ref().filter(|(kept_at, _)| *kept_at >= at) {
        return site.clone();
    }
    let StructureLoad { document, revisions, .. } = read!(state, |reader| store::revision::structure(reader))?;
    let made = tokio::task::spawn_blocking(move || made(&document)).await.map_err(|error| unexpected(&error))?.map(Arc::new);
    *kept = Some(((revisions.structural_epoch, revisions.structural), made.clone()));
    made
}

/// What a key is at first that a developer asks for now, as the database has it: a node that has not applied the newest document yet, or
/// refuses it, must not let in what is to wait.
pub(super) async fn first_state(state: &ControlState) -> Result<KeyState, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let StructureLoad { document, quarantined, .. } = store::revision::structure(&primary).await.map_err(|error| store_refusal(&error))?;
    if quarantined.iter().any(|row| row.kind == "tenant") {
        return Ok(KeyState::Pending);
    }
    match document.tenants.iter().find_map(|tenant| tenant.portal.as_ref()) {
        Some(portal) => Ok(at_first(portal)),
        None => Ok(site(state).await?.first_state()),
    }
}

const fn at_first(portal: &PortalDoc) -> KeyState {
    match portal.keys {
        KeysDoc::Open => KeyState::Active,
        KeysDoc::Approval => KeyState::Pending,
    }
}

/// Whose portal this deployment has.
pub(crate) async fn tenant(state: &ControlState) -> Result<String, Refusal> {
    Ok(site(state).await?.tenant.clone())
}

/// Reads a document.
pub(super) fn made(document: &Document) -> Result<Site, Refusal> {
    let found = document.tenants.iter().find_map(|tenant| Some((tenant, tenant.portal.clone()?)));
    let Some((tenant, portal)) = found else {
        let text = "this deployment has no portal: give a tenant of the gateway file `portal: { sign_up: open }`, and apply it";
        return Err(Denial::new(ProblemKind::ResourceNotFound, text).into());
    };
    let structure = compile(document).map_err(|errors| {
        tracing::error!(n = errors.len(), "the stored document does not compile, so the portal cannot show it");
        Refusal::internal()
    })?;
    Ok(Site {
        tenant: tenant.name.clone(),
        title: portal.title.clone().unwrap_or_else(|| TITLE.to_owned()),
        apis: shown(document, tenant, &portal, &structure),
        charged: charged(document),
        plans: document.plans.iter().map(|plan| (plan.name.clone(), plan.limits.clone())).collect(),
        portal,
    })
}

fn shown(document: &Document, tenant: &TenantDoc, portal: &PortalDoc, structure: &Structure) -> Vec<Api> {
    let is_shown = |name: &str| portal.apis.as_ref().is_none_or(|names| names.iter().any(|shown| shown == name));
    let apis = document.apis.iter().filter(|api| is_shown(&api.name));
    apis.filter_map(|api| catalogue::read(api, document, tenant, structure)).collect()
}
