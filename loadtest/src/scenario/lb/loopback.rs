//! An address for each server of the run, all on the loopback interface, and configurations with these addresses.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::product::{Form, Product};
use crate::machine::{Balancer, BalancerCommand, Port};

/// The ports of all servers of the run. Every load balancer and every upstream has an address of its own.
#[derive(Debug)]
pub(super) struct Ports {
    /// Of load balancers: 8000 in their files.
    pub(super) web: Port,
    /// Of upstreams: 8080.
    pub(super) listen: Port,
    /// Of upstreams, for `/readyz`: 9090.
    pub(super) admin: Port,
}

impl Ports {
    pub(super) fn reserve() -> Result<Ports> {
        Ok(Ports { web: Port::reserve()?, listen: Port::reserve()?, admin: Port::reserve()? })
    }
}

/// The addresses of a load balancer and its two upstreams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loopback<'a> {
    pub(super) ports: &'a Ports,
    /// A number of its own.
    pub(super) number: u8,
}

impl Loopback<'_> {
    /// The address of gateway 1 or 2.
    pub(super) fn upstream(&self, index: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, self.number, index)
    }

    pub(super) fn web(&self) -> SocketAddr {
        self.ports.web.clone().on(Ipv4Addr::new(127, 77, self.number, 100)).addr()
    }

    /// The text of a configuration with these addresses.
    fn filled(&self, text: &str) -> String {
        let number = |port: &Port| port.number().to_string();
        let places = [
            ("gateway-1", self.upstream(1).to_string()),
            ("gateway-2", self.upstream(2).to_string()),
            ("0.0.0.0", self.web().ip().to_string()),
            ("8000", number(&self.ports.web)),
            ("8080", number(&self.ports.listen)),
            ("9090", number(&self.ports.admin)),
        ];
        // Whole words: 8000 stands in 18000 as well, and one replacement must not be replaced again.
        let mut filled = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let place = places.iter().find(|(word, _)| {
                rest.strip_prefix(word)
                    .is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
                    && !filled.ends_with(|c: char| c.is_ascii_digit())
            });
            if let Some((word, value)) = place {
                filled.push_str(value);
                rest = &rest[word.len()..];
            } else {
                let mut characters = rest.chars();
                filled.extend(characters.next());
                rest = characters.as_str();
            }
        }
        filled
    }

    /// Copies the files of a form into the directory, and starts the load balancer there.
    pub(super) async fn start(
        &self,
        product: &Product,
        form: Form,
        program: &Path,
        files: &Path,
        directory: &Path,
    ) -> Result<Balancer> {
        let files = files.join(product.folder).join(form.as_str());
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        // nginx from the wheel logs there.
        fs::create_dir_all(directory.join("logs"))?;
        for entry in
            fs::read_dir(&files).with_context(|| format!("cannot read {}", files.display()))?
        {
            let entry = entry?;
            let text = self.filled(&fs::read_to_string(entry.path())?);
            fs::write(directory.join(entry.file_name()), text)?;
        }
        let web = self.web();
        let here = directory.display().to_string();
        let name = format!("lb{}", self.number);
        let filled = |text: &str| {
            let text = text.replace("{directory}", &here).replace("{web}", &web.to_string());
            text.replace("{name}", &name)
        };
        for (name, text) in product.files {
            fs::write(directory.join(name), filled(text))?;
        }
        let command = BalancerCommand {
            name: product.folder.to_owned(),
            program: program.to_owned(),
            args: product.args(form).map(filled).collect(),
            envs: product.envs().iter().map(|(n, v)| ((*n).to_owned(), filled(v))).collect(),
            directory: PathBuf::from(directory),
        };
        Balancer::start(command, web).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Loopback, Ports};

    #[test]
    fn places_are_whole_words() {
        let ports = Ports::reserve().expect("ports");
        let loopback = Loopback { ports: &ports, number: 3 };
        let filled = loopback.filled("listen 0.0.0.0:8000; 18000 10.0.0.0 gateway-1 gateway-10");
        let web = ports.web.number();
        assert_eq!(
            filled,
            format!("listen 127.77.3.100:{web}; 18000 10.0.0.0 127.77.3.1 gateway-10")
        );
    }
}
