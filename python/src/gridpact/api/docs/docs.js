// Shows /openapi.json as one page. Everything is inserted as text, never as markup.
'use strict'

const element = (name, attributes, ...children) => {
  const node = Object.assign(document.createElement(name), attributes)
  node.append(...children.filter((child) => child !== undefined && child !== ''))
  return node
}

const resolve = (contract, value) => {
  if (!value || !value.$ref) return value
  return value.$ref.slice(2).split('/').reduce((at, step) => at[step], contract)
}

const schemaName = (schema) => {
  if (!schema) return ''
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop()
    return element('a', { href: `#schema-${name}` }, name)
  }
  if (schema.type === 'array') return element('span', {}, 'list of ', schemaName(schema.items))
  return [schema.type].flat().filter(Boolean).join(' or ')
}

const row = (...cells) => element('tr', {}, ...cells.map((cell) => element('td', {}, cell)))

const contents = (content) => {
  const types = Object.entries(content ?? {})
  return element('span', {}, ...types.flatMap(([type, { schema }]) => [`${type} `, schemaName(schema), ' ']))
}

const operation = (contract, path, method, item, shared) => {
  const parameters = [...shared, ...(item.parameters ?? [])].map((each) => resolve(contract, each))
  const parts = [element('p', {}, item.description ?? '')]
  if (parameters.length) {
    parts.push(element('table', {}, ...parameters.map((each) => row(
      element('code', {}, each.name), each.in, each.required ? 'required' : '', schemaName(each.schema),
      each.description ?? ''))))
  }
  if (item.requestBody) parts.push(element('p', {}, 'Body: ', contents(item.requestBody.content)))
  parts.push(element('table', {}, ...Object.entries(item.responses).map(([status, response]) => {
    const whole = resolve(contract, response)
    return row(element('code', {}, status), whole.description, contents(whole.content))
  })))
  return element('details', { id: item.operationId },
    element('summary', {},
      element('code', { className: 'method' }, method.toUpperCase()), ' ', element('code', {}, path),
      ` ${item.summary}`, element('span', { className: 'role' }, item['x-gateway'].role ?? 'public')),
    element('div', {}, ...parts))
}

const page = (contract) => {
  const methods = ['get', 'post', 'put', 'patch', 'delete']
  const operations = Object.entries(contract.paths).flatMap(([path, item]) => methods
    .filter((method) => item[method])
    .map((method) => ({ path, method, item: item[method], shared: item.parameters ?? [] })))
  return [
    element('h1', {}, `${contract.info.title} ${contract.info.version}`),
    element('p', {}, contract.info.summary),
    element('pre', {}, contract.info.description),
    ...contract.tags.flatMap(({ name, description }) => [
      element('h2', {}, name), element('p', {}, description),
      ...operations.filter(({ item }) => item.tags.includes(name))
        .map(({ path, method, item, shared }) => operation(contract, path, method, item, shared)),
    ]),
    element('h2', {}, 'Schemas'),
    ...Object.entries(contract.components.schemas).map(([name, schema]) => element('details', { id: `schema-${name}` },
      element('summary', {}, element('code', {}, name), ` ${schema.description ?? ''}`),
      element('pre', {}, JSON.stringify(schema, null, 2)))),
  ]
}

const openTarget = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)))
  if (target instanceof HTMLDetailsElement) {
    target.open = true
    target.scrollIntoView()
  }
}

fetch('/openapi.json').then((response) => response.json()).then((contract) => {
  document.getElementById('page').replaceChildren(...page(contract))
  addEventListener('hashchange', openTarget)
  openTarget()
})
