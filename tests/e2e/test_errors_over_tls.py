# SPDX-License-Identifier: Apache-2.0
"""Every fault of test_errors.py, test_fault_matrix.py, test_verify.py and test_round_trips.py again, over TLS with a
private CA."""

import pytest

from registry import behaviours

from test_errors import *  # noqa: F401, F403
from test_fault_matrix import *  # noqa: F401, F403
from test_round_trips import *  # noqa: F401, F403
from test_verify import *  # noqa: F401, F403

# Their servers of storage and tokens speak plain HTTP, where none that speaks TLS may send anybody.
del test_redirects_are_followed, test_the_wrong_bytes_behind_a_redirect  # noqa: F821
del test_storage_has_no_word_on_what_is_there, test_cold_with_tokens_and_storage_elsewhere  # noqa: F821


@pytest.fixture
def registry(registries, authority):
    return registries(tls=authority.context("127.0.0.1"))


@pytest.fixture
def image(registry):
    return samples.push_wasm(registry.store, "demo/app", "v1", size=SIZE)  # noqa: F405


@pytest.fixture
def storage(registries, registry, image, authority):
    at = registries(host="127.0.0.2", store=registry.store, tls=authority.context("127.0.0.2"))
    registry.on("GET", "/blobs/", behaviours.redirect(at.url + "{path}?X-Sig=s3cr3t"))
    return at


def test_a_redirect_that_leaves_tls(mount, registry, registries, image):
    plain = registries(host="127.0.0.2", store=registry.store)
    registry.on("GET", "/blobs/", behaviours.redirect(plain))
    m = mount()
    with raises(EACCES):  # noqa: F405
        read(m / "demo/app:v1/main.wasm")  # noqa: F405
    assert m.log.wait("from https to http")
    assert plain.count() == 0 and registry.count("GET", "/blobs/") == 1
    nothing_wrong(m, image)  # noqa: F405


@pytest.fixture
def mount(mount, authority, work):
    ca = authority.ca_file(work)

    def make(source=None, *options, **more):
        return mount(source, "--ca-file", ca, *options, **more)
    return make
