import t from 'tap';

import { refusedIncludes } from '../../../scripts/lint/native-includes.mjs';

t.test('only the addon knows Node-API', (t) => {
  t.strictSame(refusedIncludes('native/addon/addon.cc', '#include <napi.h>\n'), []);
  t.match(refusedIncludes('native/engine/engine.c', 'int x;\n#include <napi.h>\n'), [
    /^native\/engine\/engine.c:2: /,
  ]);
  t.strictSame(refusedIncludes('native/addon/convert.h', '#include <napi.h>'), []);
  t.equal(refusedIncludes('native/addon/watch.c', '#include <uv.h>').length, 1);
  t.equal(refusedIncludes('native/bench/microbench.c', '#include <node_api.h>').length, 1);
  t.equal(refusedIncludes('native/system/lock.c', '  #  include "uv.h"').length, 1);
  t.end();
});

t.test('the engine stands alone', (t) => {
  t.strictSame(refusedIncludes('native/engine/gro.c', '#include "gro.h"\n#include <net/if.h>\n'), []);
  t.equal(refusedIncludes('native/engine/gro.c', '#include "../system/netlink.h"').length, 1);
  t.equal(refusedIncludes('native/engine/gro.c', '#include "system/netlink.h"').length, 1);
  t.equal(refusedIncludes('native/system/lock.c', '#include "../engine/engine.h"').length, 1);
  t.strictSame(
    refusedIncludes('native/test/gro.c', '#include "../engine/gro.h"'),
    [],
    'tests include anything',
  );
  t.strictSame(refusedIncludes('native/engine/gro.c', '// #include "../system/x.h" in a comment'), []);
  t.end();
});
