{
  "includes": ["native/sources.gypi"],
  "targets": [
    {
      "target_name": "kersey",
      "sources": ["<@(addon_sources)", "<@(engine_sources)", "<@(system_sources)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "_GNU_SOURCE",
        "NAPI_VERSION=9",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED"
      ],
      "cflags": ["-fvisibility=hidden", "-fstack-protector-strong", "-Wall", "-Wextra"],
      "cflags!": ["-O2"],
      "cflags_c": ["-std=c11", "-O3", "-Wshadow", "-Wconversion"],
      "cflags_cc": ["-std=c++17", "-O2"],
      "ldflags": ["-Wl,-z,relro,-z,now"]
    }
  ]
}
