//! Who may do what: one table, pure, so that a person can read it ([`matrix`]).

pub mod matrix;

/// What an operator may be. An operator can be several of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Reads the configuration and the state of the nodes.
    Viewer,
    /// A viewer who issues, rolls, changes and revokes keys, and purges stored responses.
    Developer,
    /// A viewer who lets keys be used that wait for approval.
    Approver,
    /// Runs the gateways: keys, callers, the gateway document. Does not read the access log.
    Operator,
    /// A viewer who disables and revokes keys, purges stored responses and reads the access log.
    Security,
    /// Reads everything, the access log too, and changes nothing.
    Auditor,
}

impl Role {
    /// Every role, in the order of the matrix.
    pub const ALL: [Self; 6] = [Self::Viewer, Self::Developer, Self::Approver, Self::Operator, Self::Security, Self::Auditor];

    /// The name in the database and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Security => "security",
            Self::Auditor => "auditor",
        }
    }

    /// What it is for, as a sentence for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Viewer => "reads the configuration and the state of the nodes",
            Self::Developer => "a viewer who issues, rolls, changes and revokes keys, and purges stored responses",
            Self::Approver => "a viewer who lets keys be used that wait for approval, and people in who ask for an account",
            Self::Operator => "runs the gateways: keys, callers, people, the gateway document; does not read the access log",
            Self::Security => "a viewer who ends keys, tokens and accounts, purges stored responses and reads the access log",
            Self::Auditor => "reads everything, the access log too, and changes nothing",
        }
    }

    /// Reads a name; an unknown one is no role, so that it grants nothing.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// The roles that a stored name stands for. `admin` is what the first operator is: operator and auditor together.
pub fn roles(name: &str) -> Vec<Role> {
    match name {
        "admin" => vec![Role::Operator, Role::Auditor],
        other => Role::parse(other).into_iter().collect(),
    }
}

/// Whether an act leaves a record in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// It does, and nothing is done when the log cannot take it.
    Required,
    /// Reading the configuration is not recorded.
    None,
}

macro_rules! actions {
    ($(#[doc = $words:literal] $variant:ident = $code:literal, $recording:ident;)*) => {
        /// What can be done through the admin API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $(#[doc = $words] $variant,)* }

        impl Action {
            /// Every action, in the order of the matrix.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, as records carry it.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it is, as a sentence for people.
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words.trim(),)* }
            }

            /// Whether it leaves a record.
            pub const fn recording(self) -> Recording {
                match self { $(Self::$variant => Recording::$recording,)* }
            }
        }
    };
}

actions! {
    /// Reads what a node says about itself.
    StatusRead = "status.read", None;
    /// Reads the registered nodes.
    NodeRead = "node.read", None;
    /// Strikes a node off the list that is gone for good.
    NodeRemove = "node.remove", Required;
    /// Reads tenants, plans, routes, upstreams, regions and APIs.
    StructureRead = "structure.read", None;
    /// Compiles a document without writing it.
    DocumentCheck = "document.check", None;
    /// Writes a document, or asks what writing it would change.
    DocumentApply = "document.apply", Required;
    /// Reads consumers.
    ConsumerRead = "consumer.read", None;
    /// Makes a consumer.
    ConsumerCreate = "consumer.create", Required;
    /// Changes where the data of a consumer may lie.
    ConsumerChange = "consumer.change", Required;
    /// Removes a consumer.
    ConsumerDelete = "consumer.delete", Required;
    /// Reads applications.
    ApplicationRead = "application.read", None;
    /// Makes an application.
    ApplicationCreate = "application.create", Required;
    /// Removes an application.
    ApplicationDelete = "application.delete", Required;
    /// Reads what is known about keys; never a secret.
    KeyRead = "key.read", None;
    /// Issues a key.
    KeyCreate = "key.create", Required;
    /// Takes over keys of another system.
    KeyImport = "key.import", Required;
    /// Gives a key another secret, and ends the overlap with the one before.
    KeyRoll = "key.roll", Required;
    /// Changes what a key is called and what it may.
    KeyChange = "key.change", Required;
    /// Lets a key that waits for approval be used.
    KeyApprove = "key.approve", Required;
    /// Refuses a key that waits for approval.
    KeyRefuse = "key.refuse", Required;
    /// Switches a key off for a while.
    KeyDisable = "key.disable", Required;
    /// Switches a key on again.
    KeyEnable = "key.enable", Required;
    /// Revokes a key.
    KeyRevoke = "key.revoke", Required;
    /// Refuses tokens of issuers.
    TokenDeny = "token.deny", Required;
    /// Reads which tokens are refused, and whose.
    TokenRead = "token.read", None;
    /// Reads who has operator tokens.
    OperatorRead = "operator.read", None;
    /// Makes an operator token; never one that may more than its maker.
    OperatorCreate = "operator.create", Required;
    /// Ends an operator token.
    OperatorRevoke = "operator.revoke", Required;
    /// Reads who signs in to the pages.
    AccountRead = "account.read", None;
    /// Lets somebody in who asked for an account, or refuses them.
    AccountDecide = "account.decide", Required;
    /// Switches an account off.
    AccountDisable = "account.disable", Required;
    /// Switches an account on again.
    AccountEnable = "account.enable", Required;
    /// Invites an operator to the pages; never one that may more than whoever invites.
    AccountInvite = "account.invite", Required;
    /// Makes a link to another password for somebody; never for one who may more than whoever makes it.
    AccountReset = "account.reset", Required;
    /// Takes the second factor from somebody who has lost it; never from one who may more.
    AccountResetFactor = "account.reset_factor", Required;
    /// Makes somebody sign in by the provider from now on; never one who may more than whoever does it.
    AccountLink = "account.link", Required;
    /// Reads what people are told, and whether it arrived.
    NotificationRead = "notification.read", None;
    /// Sends a notification again that failed.
    NotificationRetry = "notification.retry", Required;
    /// Reads how much keys are used.
    UsageRead = "usage.read", None;
    /// Makes stored responses worthless.
    CachePurge = "cache.purge", Required;
    /// Reads the access log.
    AuditRead = "audit.read", Required;
}

/// The table.
pub const fn allows(role: Role, action: Action) -> bool {
    use Action::{
        AccountDecide, AccountDisable, AccountEnable, AccountInvite, AccountLink, AccountRead, AccountReset, AccountResetFactor, ApplicationCreate,
        ApplicationDelete, ApplicationRead, AuditRead, CachePurge, ConsumerChange, ConsumerCreate, ConsumerDelete, ConsumerRead, DocumentApply,
        DocumentCheck, KeyApprove, KeyChange, KeyCreate, KeyDisable, KeyEnable, KeyImport, KeyRead, KeyRefuse, KeyRevoke, KeyRoll, NodeRead,
        NodeRemove, NotificationRead, NotificationRetry, OperatorCreate, OperatorRead, OperatorRevoke, StatusRead, StructureRead, TokenDeny,
        TokenRead, UsageRead,
    };
    match action {
        StatusRead | NodeRead | StructureRead | DocumentCheck | ConsumerRead | ApplicationRead | KeyRead | UsageRead => true,
        DocumentApply | ConsumerCreate | ConsumerChange | ConsumerDelete | ApplicationCreate | ApplicationDelete | KeyImport | NodeRemove
        | OperatorCreate | AccountEnable | AccountInvite | AccountLink | AccountReset | AccountResetFactor => {
            matches!(role, Role::Operator)
        }
        KeyCreate | KeyRoll | KeyChange | KeyEnable => matches!(role, Role::Developer | Role::Operator),
        // Whoever asks for a key does not approve it.
        KeyApprove | KeyRefuse | AccountDecide => matches!(role, Role::Approver | Role::Operator),
        // What takes something back that went out is open to more roles than what gives it out.
        KeyDisable | KeyRevoke | CachePurge | TokenDeny => matches!(role, Role::Developer | Role::Operator | Role::Security),
        // Subjects are names of people.
        TokenRead => matches!(role, Role::Developer | Role::Operator | Role::Security | Role::Auditor),
        OperatorRead => matches!(role, Role::Operator | Role::Security | Role::Auditor),
        NotificationRetry => matches!(role, Role::Operator),
        NotificationRead => matches!(role, Role::Operator | Role::Security | Role::Auditor),
        AccountRead => matches!(role, Role::Approver | Role::Operator | Role::Security | Role::Auditor),
        OperatorRevoke | AccountDisable => matches!(role, Role::Operator | Role::Security),
        AuditRead => matches!(role, Role::Security | Role::Auditor),
    }
}

/// What some roles allow that others do not: the first such action. Whoever grants roles must have what they allow.
pub fn beyond(granting: &[Role], granted: &[Role]) -> Option<Action> {
    Action::ALL.iter().copied().find(|action| any_allows(granted, *action) && !any_allows(granting, *action))
}

/// True when one of the roles allows the action.
pub fn any_allows(roles: &[Role], action: Action) -> bool {
    roles.iter().any(|role| allows(*role, action))
}

#[cfg(test)]
mod tests;
