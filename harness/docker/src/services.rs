//! Services: further containers beside a sandbox, on a network that only they and the sandbox share.
//!
//! Owns: starting them, waiting until they are ready, and noticing their end. Must not: give them a network of the
//! daemon's: connections between them and the sandbox go over the helpers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::ImageConfig;
use futures_util::future::join_all;
use harness_core::egress::AllowList;
use harness_core::ports::{
    ExecEnding, ExecRequest, PreparedImage, Sandbox, SandboxError, SandboxFact, SandboxRequest,
};
use harness_core::sandbox::{Healthcheck, ImageSource, NetworkPolicy, Resources, SandboxSpec, ServiceSpec};
use harness_core::text::{Captured, printable};
use harness_guest::{Ending, Exec};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{self, RootPowers};
use crate::errors::About;
use crate::facts_log::FactLog;
use crate::link::{Broken, CommandAsked, Link, LinkRan, Over};
use crate::net::{self, Member, PROXY_ADDRESS, PROXY_PORT, Proxy, RealOutside};
use crate::pace::Lifecycle;
use crate::provider::{DockerProvider, Part, Wanted};
use crate::sandbox::DockerSandbox;

/// How much of what a service writes is kept.
const KEPT_OUTPUT: usize = 16 << 10;
const TOLD_OUTPUT: usize = 2 << 10;
/// Between two tries of a health check, and the longest that one may take.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
const HEALTH_TIME: Duration = Duration::from_secs(10);
/// The first tries come faster: most services are ready within a moment.
const FIRST_INTERVALS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// How long the proxy may take to report the connections that it ends.
const REPORTED_WITHIN: Duration = Duration::from_secs(1);
/// How long a service without a health check may take until it listens; afterwards it is taken for ready anyway.
const LISTENS_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to learn where a healthy service listens; one that listens nowhere costs this much.
const PORTS_WITHIN: Duration = Duration::from_secs(1);
/// How long a service may take to get healthy, whatever its check allows for.
const HEALTHY_WITHIN: Duration = Duration::from_mins(10);
/// How long the helpers may take to listen for the services' ports.
const REACHABLE_WITHIN: Duration = Duration::from_secs(5);

/// A service that runs.
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) sandbox: DockerSandbox,
    /// Waits for the end of its command.
    _watch: AbortOnDropHandle<()>,
}

/// What an image says about how it is run.
struct ImageRun {
    argv: Vec<String>,
    user: String,
    workdir: String,
}

impl DockerProvider {
    /// Starts services side by side and waits until all are ready. If one is not, all are removed.
    pub(crate) async fn start_services(
        &self,
        request: &SandboxRequest,
        hosts: &str,
        log: &Arc<FactLog>,
    ) -> Result<Vec<Service>, SandboxError> {
        let starting = request.spec.services.iter().map(|(name, spec)| async move {
            let image = request
                .image
                .services
                .get(name)
                .ok_or_else(|| SandboxError::Service {
                    service: name.clone(),
                    detail: "has no prepared image".to_owned(),
                })?;
            let files = request.service_files.get(name).cloned().unwrap_or_default();
            let run = self.image_run(image, spec).await?;
            let own = service_request(request, image, &run, spec);
            let own = SandboxRequest { files, ..own };
            self.start_service(name, &own, run.argv, hosts, log).await
        });
        let mut services = Vec::new();
        let mut failed = None;
        for started in join_all(starting).await {
            match started {
                Ok(service) => services.push(service),
                Err(error) => failed = Some(graver(failed, error)),
            }
        }
        if failed.is_none() {
            let specs = &request.spec.services;
            let ready = services.iter().filter_map(|service| {
                let spec = specs.get(&service.name)?;
                Some(service.until_ready(spec.healthcheck.as_ref(), log))
            });
            for error in join_all(ready).await.into_iter().filter_map(Result::err) {
                failed = Some(graver(failed, error));
            }
        }
        let Some(mut error) = failed else {
            return Ok(services);
        };
        for service in &services {
            error = service.sandbox.end_after(error).await;
        }
        Err(error)
    }

    async fn start_service(
        &self,
        name: &str,
        request: &SandboxRequest,
        argv: Vec<String>,
        hosts: &str,
        log: &Arc<FactLog>,
    ) -> Result<Service, SandboxError> {
        let wanted = Wanted {
            request,
            part: Part::Service,
            hosts,
            root: Some(RootPowers::Few),
            network: None,
        };
        let sandbox = self.start_one(wanted).await?;
        let Some(link) = sandbox.link.clone() else {
            sandbox.remove().await;
            return Err(SandboxError::Service {
                service: name.to_owned(),
                detail: format!("needs the helper: {}", sandbox.info().notes.join("; ")),
            });
        };
        let exec = ExecRequest {
            argv,
            ..ExecRequest::shell("", Duration::ZERO)
        };
        let asked = CommandAsked {
            exec: Exec {
                timeout: None,
                output_limit: u64::MAX,
                ..sandbox.exec_of(&exec)
            },
            stdin: None,
            keep: KEPT_OUTPUT,
        };
        let (service, log) = (name.to_owned(), Arc::clone(log));
        // What outgrows its disk is killed, and the service has ended then.
        let disk = sandbox.watch_disk();
        // From the beginning, so that they are known when it is ready.
        let _ = link.net().ports();
        let watch = tokio::spawn(async move {
            let ran = link.run(asked, std::future::pending()).await;
            drop(disk);
            match ran {
                Ok(ran) => log.push(service_ended(&service, &ran)),
                Err(broken) => return log.push(service_broken(service, broken)),
            }
            let broken = link.until_broken().await;
            log.push(service_broken(service, broken));
        });
        Ok(Service {
            name: name.to_owned(),
            sandbox,
            _watch: AbortOnDropHandle::new(watch),
        })
    }

    /// Returns what an image says about how it is run; looked up once.
    async fn image_config(&self, image: &PreparedImage) -> Result<ImageConfig, SandboxError> {
        let shared = &self.shared;
        let known = {
            let known = shared
                .image_configs
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            known.get(&image.id).cloned()
        };
        if let Some(config) = known {
            return Ok(config);
        }
        let permit = shared.pace.admit().await?;
        let found = shared.docker.inspect_image(&image.id).await;
        let found =
            found.map_err(|error| shared.error(&error, "look up an image", About::Image(&image.name)));
        permit.done(Lifecycle::Other, &found);
        let config = found?.config.unwrap_or_default();
        let mut known = shared
            .image_configs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.insert(image.id.clone(), config.clone());
        Ok(config)
    }

    /// Returns how an image is run with the command of a service, as the daemon would do it.
    async fn image_run(&self, image: &PreparedImage, spec: &ServiceSpec) -> Result<ImageRun, SandboxError> {
        let config = self.image_config(image).await?;
        let mut argv = config.entrypoint.unwrap_or_default();
        argv.extend(if spec.command.is_empty() {
            config.cmd.unwrap_or_default()
        } else {
            spec.command.clone()
        });
        let or = |value: Option<String>, default: &str| {
            value
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default.to_owned())
        };
        Ok(ImageRun {
            argv,
            user: or(config.user, "root"),
            workdir: or(config.working_dir, "/"),
        })
    }
}

fn service_request(
    request: &SandboxRequest,
    image: &PreparedImage,
    run: &ImageRun,
    service: &ServiceSpec,
) -> SandboxRequest {
    let spec = SandboxSpec {
        image: ImageSource::Named(image.name.clone()),
        network: NetworkPolicy::None,
        services: BTreeMap::new(),
        files: service.files.clone(),
        setup: Vec::new(),
        env: service.env.clone(),
        user: run.user.clone(),
        workdir: run.workdir.clone(),
        resources: Resources::default(),
        runtime: request.spec.runtime,
    };
    SandboxRequest {
        spec: Arc::new(spec),
        image: image.clone(),
        files: Vec::new(),
        service_files: BTreeMap::new(),
        labels: request.labels.clone(),
    }
}

fn service_ended(service: &str, ran: &LinkRan) -> SandboxFact {
    let code = match &ran.over {
        Over::NotStarted(_) => 127,
        Over::Exit(exit) => match exit.ending {
            Ending::Exited(code) => code,
            Ending::TimedOut | Ending::OutputLimit | Ending::Killed => 137,
        },
    };
    let mut output = said(&ran.stdout, &ran.stderr);
    if let Over::NotStarted(problem) = &ran.over {
        output.text.push_str(&printable(&problem.text));
    }
    SandboxFact::ServiceEnded {
        service: service.to_owned(),
        code,
        output,
    }
}

fn service_broken(service: String, broken: Broken) -> SandboxFact {
    let detail = match broken {
        Broken::Ended(why) => why,
        Broken::Breach(evidence) => format!("containment event: {evidence}"),
    };
    SandboxFact::ServiceBroken {
        service,
        detail: crate::errors::one_line(&detail),
    }
}

/// Returns the end of what a program wrote.
fn said(stdout: &Captured, stderr: &Captured) -> harness_core::text::Capped {
    let mut said = stdout.readable(TOLD_OUTPUT / 2);
    let err = stderr.readable(TOLD_OUTPUT / 2);
    said.text.push_str(&err.text);
    said.cut += err.cut;
    said.text = printable(&said.text);
    said
}

impl Service {
    /// Waits until the service is ready: its health check succeeds, or, without one, it listens somewhere.
    async fn until_ready(&self, check: Option<&Healthcheck>, log: &FactLog) -> Result<(), SandboxError> {
        let listens_within = match check {
            Some(check) => {
                self.until_healthy(check, log).await?;
                PORTS_WITHIN
            }
            None => LISTENS_WITHIN,
        };
        let _ = tokio::time::timeout(listens_within, self.until_listening()).await;
        self.not_ended(log)
    }

    async fn until_healthy(&self, check: &Healthcheck, log: &FactLog) -> Result<(), SandboxError> {
        let until = Instant::now() + HEALTHY_WITHIN;
        let slow = usize::try_from(check.retries).unwrap_or(usize::MAX);
        let slow = std::iter::repeat_n(HEALTH_INTERVAL, slow.saturating_sub(1));
        let pauses = std::iter::once(Duration::ZERO).chain(FIRST_INTERVALS).chain(slow);
        let (mut tries, mut last) = (0, String::new());
        for pause in pauses {
            tokio::time::sleep(pause).await;
            self.not_ended(log)?;
            if Instant::now() >= until {
                break;
            }
            let tried = self
                .sandbox
                .exec(&ExecRequest::shell(&check.run, HEALTH_TIME))
                .await?;
            if tried.ending == (ExecEnding::Exited { code: 0 }) {
                return Ok(());
            }
            tries += 1;
            last = said(&tried.stdout, &tried.stderr).text;
        }
        Err(SandboxError::Service {
            service: self.name.clone(),
            detail: format!(
                "is not healthy after {tries} tries: {}",
                crate::errors::one_line(&last)
            ),
        })
    }

    async fn until_listening(&self) {
        let Some(link) = &self.sandbox.link else { return };
        let mut ports = link.net().ports();
        let _ = ports.wait_for(|ports| !ports.is_empty()).await;
    }

    fn broken(&self) -> Option<Broken> {
        self.sandbox.link.as_ref()?.broken()
    }

    /// Returns the containment event of the service's helper, if there was one.
    pub(crate) fn breach(&self) -> Option<SandboxError> {
        match self.broken()? {
            Broken::Breach(evidence) => {
                let evidence = format!("service `{}`: {evidence}", self.name);
                Some(Broken::Breach(evidence).into())
            }
            Broken::Ended(_) => None,
        }
    }

    /// Checks that the service's container answers.
    pub(crate) async fn check(&self) -> Result<(), SandboxError> {
        let Some(link) = &self.sandbox.link else {
            return Ok(());
        };
        match link.check().await {
            Ok(()) => Ok(()),
            Err(Broken::Ended(why)) => Err(self.lost(&why)),
            Err(broken) => Err(broken.into()),
        }
    }

    fn lost(&self, why: &str) -> SandboxError {
        SandboxError::Service {
            service: self.name.clone(),
            detail: format!("is lost: {}", crate::errors::one_line(why)),
        }
    }

    fn not_ended(&self, log: &FactLog) -> Result<(), SandboxError> {
        if let Some(breach) = self.breach() {
            return Err(breach);
        }
        let Some((code, output)) = log.end_of(&self.name) else {
            return match self.broken() {
                Some(Broken::Ended(why) | Broken::Breach(why)) => Err(self.lost(&why)),
                None => Ok(()),
            };
        };
        Err(SandboxError::Service {
            service: self.name.clone(),
            detail: format!("ended with code {code}: {}", crate::errors::one_line(&output)),
        })
    }
}

impl DockerProvider {
    /// Starts a sandbox with what is attached to it: its services, and the proxy of its allow-list.
    pub(crate) async fn start_attached(
        &self,
        request: &SandboxRequest,
        network: Option<&str>,
    ) -> Result<DockerSandbox, SandboxError> {
        let log = Arc::new(FactLog::default());
        let list = allow_list(&request.spec)?;
        let names = net::addresses(request.spec.services.keys().map(String::as_str));
        let hosts = net::hosts(config::HOST_NAME, &names, list.is_some());
        let wanted = Wanted {
            request,
            part: Part::Sandbox,
            hosts: &hosts,
            root: None,
            network,
        };
        let (sandbox, services) =
            tokio::join!(self.start_one(wanted), self.start_services(request, &hosts, &log));
        let (mut sandbox, services) = match (sandbox, services) {
            (Ok(sandbox), Ok(services)) => (sandbox, services),
            (Ok(sandbox), Err(error)) => return Err(sandbox.end_after(error).await),
            (Err(mut error), Ok(services)) => {
                for service in &services {
                    error = service.sandbox.end_after(error).await;
                }
                return Err(error);
            }
            (Err(error), Err(other)) => return Err(graver(Some(error), other)),
        };
        sandbox.log = log;
        for service in &services {
            sandbox.services.push(service.sandbox.id.clone());
            service.sandbox.stopped.store(true, Ordering::Release);
        }
        if let Err(error) = attach(&mut sandbox, services, list).await {
            return Err(sandbox.end_after(error).await);
        }
        Ok(sandbox)
    }
}

/// Returns the error that is told of two: the first, unless only the other is a containment event.
fn graver(first: Option<SandboxError>, other: SandboxError) -> SandboxError {
    match first {
        Some(first) if first.is_breach() || !other.is_breach() => first,
        _ => other,
    }
}

/// Connects a sandbox with its services and its proxy.
async fn attach(
    sandbox: &mut DockerSandbox,
    services: Vec<Service>,
    list: Option<AllowList>,
) -> Result<(), SandboxError> {
    let Some(link) = sandbox.link.clone() else {
        let why = sandbox.info().notes.join("; ");
        return Err(SandboxError::Unsupported {
            what: format!("services and allow-lists without the helper ({why})"),
        });
    };
    let mut members = vec![member("", &link, BTreeSet::new())];
    for service in &services {
        if let Some(link) = &service.sandbox.link {
            let own_ports = link.net().ports().borrow().iter().copied().collect();
            members.push(member(&service.name, link, own_ports));
        }
    }
    if !services.is_empty() {
        let (first, mut reachable) = mpsc::channel(1);
        let relay = tokio::spawn(net::relay(members, first));
        sandbox.attached.tasks.push(AbortOnDropHandle::new(relay));
        // Whoever gets the sandbox finds its services at their names.
        let _ = tokio::time::timeout(REACHABLE_WITHIN, reachable.recv()).await;
    }
    if let Some(list) = list {
        let log = Arc::clone(&sandbox.log);
        let report = Arc::new(move |fact| log.push(fact));
        let nets = services.iter().filter_map(|service| {
            let link = service.sandbox.link.as_ref()?;
            Some((service.name.clone(), link.net().clone()))
        });
        let proxy = Arc::new(Proxy::new(list, nets.collect(), Arc::new(RealOutside), report));
        let listening = link.listen(PROXY_ADDRESS, PROXY_PORT).await;
        let listener = listening.map_err(|detail| SandboxError::Daemon {
            operation: "listen for the proxy in a sandbox".to_owned(),
            detail,
        })?;
        let running = tokio::spawn(proxy.run(listener));
        sandbox.attached.proxy = Mutex::new(Some(AbortOnDropHandle::new(running)));
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        sandbox.extra_env = proxy_variables(&names);
    }
    sandbox.attached.services = services;
    Ok(())
}

fn member(name: &str, link: &Arc<Link>, own_ports: BTreeSet<u16>) -> Member {
    let net = link.net().clone();
    let link = Arc::clone(link);
    Member {
        name: name.to_owned(),
        net,
        listen: Arc::new(move |number, address, port| {
            let link = Arc::clone(&link);
            Box::pin(async move { link.ask_to_listen(number, address, port).await })
        }),
        own_ports,
    }
}

/// Returns the hosts that a sandbox may reach; `None` if it has no way out, or every way.
fn allow_list(spec: &SandboxSpec) -> Result<Option<AllowList>, SandboxError> {
    let NetworkPolicy::Allow(hosts) = &spec.network else {
        return Ok(None);
    };
    let list =
        AllowList::parse(hosts.iter().map(String::as_str)).map_err(|error| SandboxError::Unsupported {
            what: error.to_string(),
        })?;
    Ok(Some(list))
}

/// Variables that programs look at to find their proxy.
fn proxy_variables(services: &[&str]) -> Vec<(String, String)> {
    let url = format!("http://proxy:{PROXY_PORT}");
    let direct = ["localhost", "127.0.0.1", "::1"].iter().chain(services);
    let direct = direct.copied().collect::<Vec<_>>().join(",");
    let both = |name: &str, value: &str| {
        [name.to_owned(), name.to_ascii_uppercase()].map(|name| (name, value.to_owned()))
    };
    let variables = [
        both("http_proxy", &url),
        both("https_proxy", &url),
        both("no_proxy", &direct),
    ];
    variables.into_iter().flatten().collect()
}

/// What runs on the host for a sandbox. Dropped, it ends.
#[derive(Default)]
pub(crate) struct Attached {
    pub(crate) services: Vec<Service>,
    tasks: Vec<AbortOnDropHandle<()>>,
    proxy: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Attached {
    /// Returns whether anything runs on the host for the sandbox.
    pub(crate) fn any(&self) -> bool {
        let proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        !self.services.is_empty() || !self.tasks.is_empty() || proxy.is_some()
    }
}

impl DockerSandbox {
    /// Ends the connections of the sandbox, so that all of them are reported.
    pub(crate) async fn end_connections(&self) {
        let Some(link) = &self.link else { return };
        let proxy = {
            let mut proxy = self.attached.proxy.lock().unwrap_or_else(PoisonError::into_inner);
            proxy.take()
        };
        link.net().close();
        if let Some(proxy) = proxy {
            let _ = tokio::time::timeout(REPORTED_WITHIN, proxy).await;
        }
    }
}
