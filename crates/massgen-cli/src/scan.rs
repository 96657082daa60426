//! `massgen mcp scan`: what the policy says about configurations of servers, massgen's and other programs', and about
//! what the servers say.

mod files;
mod live;
mod report;

use crate::args::{FailOn, OutputArgs, ScanArgs};
use crate::environment;
use crate::failure::{Failure, Kind};
use crate::sarif::Level;
use crate::session::Session;

use files::Target;
use report::{Found, Report};

pub(crate) async fn run(args: ScanArgs) -> Result<(), Failure> {
    let session = Session::start(OutputArgs::default(), environment::read());
    let mut report = Report::default();
    for target in files::targets(&args, &session.environment)? {
        scan(&target, &args, &session, &mut report).await?;
    }
    report.show(&args);
    let limit = match args.fail_on {
        FailOn::Error => Some(Level::Error),
        FailOn::Warning => Some(Level::Warning),
        FailOn::Note => Some(Level::Note),
        FailOn::Never => None,
    };
    if limit.is_some_and(|limit| report.found.iter().any(|found| found.level >= limit)) {
        return Err(Failure::silent(Kind::Found));
    }
    // What nobody looked at is not clean.
    if report.unseen.is_empty() { Ok(()) } else { Err(Failure::silent(Kind::NoAnswer)) }
}

async fn scan(
    target: &Target,
    args: &ScanArgs,
    session: &Session,
    report: &mut Report,
) -> Result<(), Failure> {
    let config = target.as_written(&session.environment)?;
    report.looked_at(target, &config);
    let before = report.found.len();
    for surveyed in massgen::survey(&config, target.trust) {
        report.add(Found::surveyed(&surveyed, target));
    }
    if args.live {
        // What is refused as it is written is not started to see what else it does.
        let refused: Vec<String> = report.found[before..]
            .iter()
            .filter(|found| found.level == Level::Error)
            .map(|found| found.server.clone())
            .collect();
        live::scan(target, session, &refused, report).await?;
    }
    Ok(())
}
