// Draws one dashboard with Grafana's own components: its panels on its grid, with what a Prometheus has for its queries.
// The address says which: ?dashboard=URL&prometheus=URL&start=SECONDS&end=SECONDS&step=SECONDS&rate=DURATION. `window.drawn` is
// a promise of the titles of the panels that have no data and no words for that; it fails if a query does.
import { useEffect, useLayoutEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import {
  FieldType, ThemeContext, applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, getFieldDisplayValues,
  standardFieldConfigEditorRegistry,  standardTransformers, standardTransformersRegistry, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';


const WIDTH = 1440, COLUMNS = 24, CELL = 38, GAP = 8, HEAD = 76, MARGIN = 12;
const asked = Object.fromEntries(new URLSearchParams(location.search));
const [start, end, step] = ['start', 'end', 'step'].map((name) => Number(asked[name]));
const theme = createTheme({ colors: { mode: 'dark' } });
const timeRange = { from: dateTime(start * 1000), to: dateTime(end * 1000), raw: { from: 'now-5m', to: 'now' } };
const timeZone = 'utc';
const replaceVariables = (text) => text;
const variables = { job: '.+', instance: '.+', account: '.*', provider: '.+', gpu: '.+', __rate_interval: asked.rate, __range: `${end - start}s` };
const filledIn = (text) => text.replace(/\$(\w+)/g, (whole, name) => variables[name] ?? whole);

async function ask(path, parameters) {
  const answer = await (await fetch(`${asked.prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`)).json();
  if (answer.status !== 'success') throw new Error(`${parameters.query}: ${answer.error}`);
  return answer.data.result;
}

const range = (expr) => ask('query_range', { query: filledIn(expr), start, end, step });
const number = (text) => (text === 'NaN' ? NaN : Number(text.replace('Inf', 'Infinity')));
const legend = (text, labels) => text.replace(/{{\s*(\w+)\s*}}/g, (whole, name) => labels[name] ?? '');

// As Grafana's data source for Prometheus makes them: a frame for each series, on all the steps, with gaps where there was nothing.
async function series(target) {
  const times = Array.from({ length: Math.floor((end - start) / step) + 1 }, (_, at) => start + at * step);
  return (await range(target.expr)).map(({ metric, values }) => {
    const known = new Map(values.map(([at, text]) => [Math.round(at), number(text)]));
    const name = target.legendFormat === '__auto' ? undefined : legend(target.legendFormat, metric);
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: times.map((at) => at * 1000) },
        { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: name }, values: times.map((at) => known.get(at) ?? null) },
      ],
    });
  });
}

// And a frame for each query of a table, with a column for each label; the values have the query's letter if there are several.
async function rows(target, at, { length }) {
  const found = await ask('query', { query: filledIn(target.expr), time: end });
  const labels = [...new Set(found.flatMap(({ metric }) => Object.keys(metric)))];
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: found.map(({ value }) => value[0] * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: found.map(({ metric }) => metric[name] ?? '') })),
      { name: length > 1 ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: found.map(({ value }) => number(value[1])) },
    ],
  });
}

// Grafana registers what a field may be told when it starts; here it is what the dashboards tell.
function knowTheFields(dashboard) {
  const told = dashboard.panels.filter((panel) => panel.fieldConfig).map((panel) => panel.fieldConfig);
  const plain = told.flatMap(({ defaults, overrides }) => [
    ...Object.keys(defaults).filter((name) => name !== 'custom'), ...Object.keys(defaults.custom ?? {}).map((name) => `custom.${name}`),
    ...overrides.flatMap(({ properties }) => properties.map(({ id }) => id)),
  ]);
  standardFieldConfigEditorRegistry.setInit(() => [...new Set(plain)].map((id) => ({
    id, name: id, path: id.replace(/^custom\./, ''), isCustom: id.startsWith('custom.'), process: (value) => value, shouldApply: () => true,
  })));
  const known = new Map(Object.values(standardTransformers).map((transformation) => [transformation.id, transformation]));
  standardTransformersRegistry.setInit(() => [...known.values()].map((transformation) => ({
    id: transformation.id, name: transformation.name, transformation: () => transformation, editor: null,
  })));
}

async function data(panel) {
  const table = panel.type === 'table';
  const found = (await Promise.all(panel.targets.map(table ? rows : series))).flat();
  const made = await lastValueFrom(transformDataFrame(panel.transformations ?? [], found));
  const frames = applyFieldOverrides({ data: made, fieldConfig: panel.fieldConfig, replaceVariables, theme, timeZone });
  cacheFieldDisplayNames(frames);
  return frames.filter(({ length }) => length > 0);
}

// What Grafana marks on its graphs: a dashed line and a triangle at the foot of each.
async function marks(dashboard) {
  const found = await Promise.all(dashboard.annotations.list.map(async ({ expr, iconColor, useValueForTime }) => {
    const points = (await range(expr)).flatMap(({ values }) => values);
    const times = new Set(points.map(([at, text]) => (useValueForTime ? number(text) : at * 1000)));
    return [...times].filter((at) => at >= start * 1000 && at <= end * 1000).map((at) => ({ at, color: theme.visualization.getColorByName(iconColor) }));
  }));
  return found.flat();
}

function Marks({ config, at: places }) {
  useLayoutEffect(() => {
    config.addHook('draw', ({ ctx, bbox, valToPos }) => {
      ctx.save();
      for (const { at, color } of places) {
        const x = valToPos(at, 'x', true), foot = bbox.top + bbox.height, half = 4 * devicePixelRatio;
        ctx.strokeStyle = ctx.fillStyle = color;
        ctx.setLineDash([5, 5]);
        ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, foot); ctx.stroke();
        ctx.beginPath(); ctx.moveTo(x - half, foot + half); ctx.lineTo(x + half, foot + half); ctx.lineTo(x, foot); ctx.fill();
      }
      ctx.restore();
    });
  }, [config, places]);
  return null;
}

function Content({ panel, frames, places, width, height }) {
  const { options } = panel;
  if (frames.length === 0) {
    const text = panel.fieldConfig.defaults.noValue ?? 'No data';
    return <div style={{ height, display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }}>{text}</div>;
  }
  if (panel.type === 'table') {
    return <TableNG data={frames[0]} width={width} height={height} cellHeight={options.cellHeight} noHeader={!options.showHeader}
      fieldConfig={panel.fieldConfig} structureRev={1} />;
  }
  if (panel.type === 'stat') {
    const { reduceOptions, colorMode, graphMode, justifyMode, textMode, wideLayout, orientation } = options;
    const getValues = () => getFieldDisplayValues({
      fieldConfig: panel.fieldConfig, reduceOptions, replaceVariables, theme, timeZone, data: frames, sparkline: graphMode !== 'none',
    });
    return <VizRepeater getValues={getValues} width={width} height={height} source={frames} orientation={orientation} renderCounter={1}
      getAlignmentFactors={() => ({})} autoGrid
      renderValue={({ value, width, height, count }) => <BigValue value={value.display} sparkline={value.sparkline} count={count} width={width}
        height={height} theme={theme} colorMode={colorMode} graphMode={graphMode} justifyMode={justifyMode} textMode={textMode}
        disableWideLayout={!wideLayout} />} />;
  }
  if (panel.type === 'timeseries') {
    // Grafana's panel leaves out what no line can go through, before it hands its data on.
    const finite = (value) => (Number.isFinite(value) ? value : null);
    const shown = frames.map((frame) => ({
      ...frame, fields: frame.fields.map((field) => (field.type === FieldType.number ? { ...field, values: field.values.map(finite) } : field)),
    }));
    return <TimeSeries frames={shown} width={width} height={height} timeRange={timeRange} timeZone={timeZone} legend={options.legend}
      options={options} structureRev={1}>{(config) => <Marks config={config} at={places} />}</TimeSeries>;
  }
  throw new Error(`${panel.title}: nothing here draws a ${panel.type}`);
}

function Panel({ panel, frames, places }) {
  const { x, y, w, h } = panel.gridPos;
  const place = { position: 'absolute', left: MARGIN + (x / COLUMNS) * (WIDTH - 2 * MARGIN + GAP), top: HEAD + y * CELL };
  if (panel.type === 'row') {
    return <div style={{ ...place, color: theme.colors.text.primary, fontSize: 16, fontWeight: 500, padding: '4px 0' }}>⌄ {panel.title}</div>;
  }
  return <div style={place}>
    <PanelChrome title={panel.title} description={panel.description} width={(w / COLUMNS) * (WIDTH - 2 * MARGIN + GAP) - GAP}
      height={h * CELL - GAP} padding={panel.type === 'table' ? 'none' : 'sm'}>
      {(width, height) => <Content panel={panel} frames={frames} places={places} width={width} height={height} />}
    </PanelChrome>
  </div>;
}

function Dashboard({ dashboard, found, places, done }) {
  useEffect(() => { requestAnimationFrame(() => setTimeout(done, 1000)); }, [done]);
  const height = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * CELL + HEAD + MARGIN;
  return <div style={{ position: 'relative', width: WIDTH, height, background: theme.colors.background.canvas }}>
    <div style={{ position: 'absolute', left: MARGIN, top: MARGIN, color: theme.colors.text.primary }}>
      <div style={{ fontSize: 20, fontWeight: 500 }}>{dashboard.title}</div>
      <div style={{ color: theme.colors.text.secondary }}>{dashboard.description}</div>
    </div>
    {dashboard.panels.map((panel, at) => <Panel key={panel.id} panel={panel} frames={found[at]} places={places} />)}
  </div>;
}

async function draw() {
  const dashboard = await (await fetch(asked.dashboard)).json();
  knowTheFields(dashboard);
  // What is written on a canvas does not change when its font arrives later.
  for (const [weight, name] of [[400, 'Regular'], [500, 'Medium']]) {
    document.fonts.add(await new FontFace('Inter', `url(public/fonts/inter/Inter-${name}.woff2)`, { weight }).load());
  }
  const found = await Promise.all(dashboard.panels.map((panel) => (panel.type === 'row' ? [] : data(panel))));
  const places = await marks(dashboard);
  await new Promise((done) => {
    createRoot(document.getElementById('root')).render(
      <ThemeContext.Provider value={theme}><GlobalStyles /><Dashboard {...{ dashboard, found, places, done }} /></ThemeContext.Provider>,
    );
  });
  const must = ({ type, fieldConfig }) => type !== 'row' && fieldConfig.defaults.noValue === undefined;
  return dashboard.panels.filter((panel, at) => must(panel) && found[at].length === 0).map(({ title }) => title);
}

window.drawn = draw();
