// Validates an AsyncAPI document with the project's own parser, references and examples included.
// usage: node scripts/validate-asyncapi.mjs contracts/asyncapi.yaml

import { createRequire } from 'node:module'

const { Parser, fromFile } = createRequire(new URL('../web/', import.meta.url))('@asyncapi/parser')

const [path] = process.argv.slice(2)
const ERROR = 0
const { document, diagnostics } = await fromFile(new Parser(), path).parse()
const errors = diagnostics.filter((diagnostic) => diagnostic.severity === ERROR)
for (const { path: place, message } of errors) console.log(`${path}: ${place.join('.')}: ${message}`)
process.exitCode = document && errors.length === 0 ? 0 : 1
