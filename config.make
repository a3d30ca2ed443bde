# The rule for the library that `config` has named, behind the rules of nginx's own Makefile.

case $NGX_OBJS in
    /*) swr_objs=$NGX_OBJS ;;
    *)  swr_objs=$PWD/$NGX_OBJS ;;
esac

cat << END                                                    >> $NGX_MAKEFILE

$swr_product: $swr_library

$swr_library: $swr_objs/ngx_auto_config.h `find $ngx_addon_dir/src $ngx_addon_dir/Cargo.* -type f | tr '\n' ' '`
	+cd $ngx_addon_dir && NGINX_SOURCE_DIR=$PWD NGINX_BUILD_DIR=$swr_objs $swr_cargo rustc --release --locked \\
		--package swrcache-nginx --no-default-features --crate-type staticlib --target-dir $swr_target
	touch $swr_library

END
