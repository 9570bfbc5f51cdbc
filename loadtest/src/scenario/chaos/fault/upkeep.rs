//! Work of an operator on Redis: another password, a backup that is restored, another version.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::lab::{self, Lab, PASSWORD_FILE, PASSWORD_USER, Server, wait};

/// The time in which every node must have taken a new password: it looks every 10 s.
const TAKEN_DEADLINE: Duration = Duration::from_secs(30);
/// The time in which a replica of another version must have the data.
const LINK_DEADLINE: Duration = Duration::from_secs(30);

/// Changes the password of the nodes' user, as docs/operations.md says.
pub(in super::super) async fn change_password(lab: &mut Lab) -> Result<()> {
    let set = async |lab: &mut Lab, rule: &str| {
        let words = ["ACL", "SETUSER", PASSWORD_USER, rule];
        lab.server().command(&words).await
    };
    set(lab, ">new").await?;
    fs::write(lab.directory().join(PASSWORD_FILE), "new")?;
    lab.mend("the new password is in place");
    wait("every node has taken it", TAKEN_DEADLINE, async || {
        let nodes = lab.gateways.iter().chain([&lab.ingest]);
        Ok(nodes.into_iter().all(|node| node.log().contains("credentials of redis replaced")))
    })
    .await?;
    set(lab, &format!("<{}", lab::PASSWORD)).await?;
    lab.fault("the old password ends, and every connection");
    let killed = lab.server().query(&["CLIENT", "KILL", "USER", PASSWORD_USER]).await?.concat();
    lab.must(killed != "0", "connections were killed");
    lab.note(format!("{killed} connections were killed"));
    lab.run_for(2.0, 3.0).await;
    Ok(())
}

/// Puts a backup in place of the data.
pub(in super::super) async fn restore(lab: &mut Lab) -> Result<()> {
    lab.server().query(&["SAVE"]).await?;
    let dump = lab.server().directory().join("dump.rdb");
    let backup = fs::read(&dump).with_context(|| dump.display().to_string())?;
    lab.mend("backup");
    lab.run_for(3.0, 4.0).await;
    lab.fault("the backup is restored");
    lab.server().kill_nine()?;
    fs::write(&dump, backup)?;
    lab.server().restart().await?;
    lab.mend("redis is back");
    lab.run_for(2.0, 3.0).await;
    Ok(())
}

/// Moves a primary and its replica to another version, as docs/upgrades.md says: the replica first.
pub(in super::super) async fn upgrade(lab: &mut Lab) -> Result<()> {
    // Without Valkey the servers restart as they are.
    let newer = Server::find("valkey").unwrap_or_else(|_| lab.setup.server.clone());
    let replace = async |lab: &mut Lab, number: usize| {
        let server = &mut lab.servers[number];
        server.stop().await?;
        server.restart_as(&newer.program).await?;
        let server = &lab.servers[number];
        wait("it has the data", LINK_DEADLINE, async || {
            let is_linked = server.info("master_link_status").await? == "up";
            Ok(server.info("role").await? == "slave" && is_linked)
        })
        .await
    };
    lab.note(format!("from {} to {}", lab.setup.server.version, newer.version));
    lab.fault("the replica is replaced");
    replace(lab, 1).await?;
    // The Sentinels must have seen it before it may be promoted.
    sleep(Duration::from_secs(12)).await;
    lab.fault("SENTINEL FAILOVER");
    lab.fail_over().await?;
    lab.wait_promoted(lab.servers[0].inner_addr()).await?;
    let old = &lab.servers[0];
    wait("the old primary is a replica", LINK_DEADLINE, async || {
        Ok(old.info("role").await? == "slave")
    })
    .await?;
    lab.fault("the old primary is replaced");
    replace(lab, 0).await?;
    lab.mend("both are replaced");
    Ok(())
}
